"""SQL of audiences: numbers of users, definitions, bitmaps, and of whom the ledger tells something new."""

from __future__ import annotations

from sqlalchemy import Connection

from audiences.selection.repository.bitmaps import (
    State,
    Untold,
    drop_from_bitmaps,
    drop_staged,
    drop_unused,
    live,
    make_live,
    members,
    stage,
    tell,
    untold,
)
from audiences.selection.repository.definitions import (
    Upload,
    Version,
    add_list,
    add_version,
    drop_from_lists,
    history,
    latest_list,
    latest_lists,
    latest_versions,
    list_of,
)
from audiences.selection.repository.moved import end_of_ledger, touched
from audiences.selection.repository.numbers import (
    Numbered,
    count_numbered,
    ids_of,
    let_go,
    names_of,
    number_of,
    number_users,
    numbers_after,
    numbers_carrying,
    numbers_of,
    population,
    unnumbered,
)

__all__ = [
    "Numbered",
    "State",
    "Untold",
    "Upload",
    "Version",
    "add_list",
    "add_version",
    "count_numbered",
    "drop_staged",
    "drop_unused",
    "end_of_ledger",
    "forget",
    "history",
    "ids_of",
    "latest_list",
    "latest_lists",
    "latest_versions",
    "list_of",
    "live",
    "make_live",
    "members",
    "names_of",
    "number_of",
    "number_users",
    "numbers_after",
    "numbers_carrying",
    "numbers_of",
    "population",
    "stage",
    "tell",
    "touched",
    "unnumbered",
    "untold",
]


def forget(connection: Connection, user_id: str) -> bool:
    """Take a user out of every bitmap and list, and let the number go for ever; False if there was none."""
    number = number_of(connection, user_id)
    if number is None:
        return False
    drop_from_lists(connection, number)
    drop_from_bitmaps(connection, number)
    let_go(connection, number)
    return True
