"""Policies side by side on tables of what every arm would have earned, each told only of what it chose."""

from __future__ import annotations

from learning.simulation.policies import POLICIES, check_policies
from learning.simulation.race import Race, Raced, run
from learning.simulation.table import Table, read_table

__all__ = ["POLICIES", "Race", "Raced", "Table", "check_policies", "read_table", "run"]
