"""The decision log for other tools: Parquet, JSON lines, VW's dsjson, each with the rewards that matured."""

from __future__ import annotations

from learning.exports.writing import FORMATS, Exported, export_log

__all__ = ["FORMATS", "Exported", "export_log"]
