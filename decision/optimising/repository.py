"""SQL of the optimisation log: what the files of the library said last."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select

from decision.optimising.tables import library_settings

# What a file says under a name, as JSON text.
Said = dict[tuple[str, str], str]


def settings(connection: Connection) -> Said:
    """Return what the files said, by file and name."""
    return {(row.file, row.name): row.body for row in connection.execute(select(library_settings))}


def replace_settings(connection: Connection, gone: Sequence[tuple[str, str]], new: Said) -> None:
    """Keep what files say by now in the place of what they said."""
    this = library_settings.c
    for file, name in (*gone, *new):
        connection.execute(delete(library_settings).where(this.file == file, this.name == name))
    if new:
        rows = [{"file": file, "name": name, "body": body} for (file, name), body in new.items()]
        connection.execute(insert(library_settings), rows)
