"""What the ledger says of stages: who came to which, from where, after how long, by which rule or whom."""

from __future__ import annotations

from datetime import datetime

import msgspec

from storage.ids import new_id
from storage.ledger import Kind, NewFact


class StageChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of the fact that a user, or an account, came to a stage.

    The fact is of the user; one of an account is of nobody and names it as `account_id`. `quiet` says that
    it was placed for the first time, so nothing is to be started by it.
    """

    lifecycle: str
    before: str | None
    after: str
    seconds_before: float | None = None
    rule: str = ""
    by: str = ""
    reason: str = ""
    quiet: bool = False
    account_id: str = ""


def came(whom: str, change: StageChange, at: datetime, *, of_accounts: bool) -> NewFact:
    """Return the fact that a user or an account came to a stage."""
    label = f"{change.lifecycle}.{change.after}"
    if not of_accounts:
        return NewFact(Kind.STAGE, new_id(at), label, whom, at, change)
    return NewFact(Kind.STAGE, new_id(at), label, None, at, msgspec.structs.replace(change, account_id=whom))
