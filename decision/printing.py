"""How commands print what programs are to read."""

from __future__ import annotations

from typing import Any

import msgspec
import typer


def print_json(found: Any) -> None:
    """Print plain data or structs as indented JSON."""
    typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
