"""Importing how often users were contacted elsewhere, so that caps know it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection

from audiences import repository as users
from audiences.errors import RowRefused
from audiences.importing.port import moment, number, text
from playbooks.counters.port import Counters, PastUse
from storage import ledger
from storage.ledger import Kind, NewFact
from storage.times import to_micros

LABEL = "past_contact"
# In one row; what was more is told with its own moments.
_MAX_CONTACTS = 100


class PastContact(msgspec.Struct, frozen=True):
    """Body of the fact that a user was contacted before nextplay; `rule` is the cap it counts under."""

    rule: str


class Contacts(msgspec.Struct, frozen=True):
    """So many contacts of a user at a moment, counted under each of these caps."""

    user_id: str
    rules: tuple[str, ...]
    at: datetime
    count: int

    def uses(self) -> list[PastUse]:
        """Return the single uses; each has an id that is the same whenever the row is read."""
        return [
            PastUse(
                f"import:{self.user_id}:{rule}:{to_micros(self.at)}:{number}", self.user_id, rule, self.at
            )
            for rule in self.rules
            for number in range(1, self.count + 1)
        ]


class ContactImporter:
    """Rows of contacts, of a playbook (all of its caps) or of one cap."""

    columns = ("user_id", "playbook", "cap", "at", "count")

    def __init__(self, counters: Counters, caps: Mapping[str, Collection[str]]) -> None:
        """Import into these counters; `caps` gives what a contact by each playbook counts under."""
        self._counters = counters
        self._caps = caps

    def read(self, values: Mapping[str, Any], now: datetime) -> Contacts:
        caps, playbook = self._caps, text(values, "playbook", most=64)
        if playbook not in caps:
            raise RowRefused(f"`playbook`: there is no playbook {playbook!r} that has a cap")
        rules = sorted(caps[playbook])
        if "cap" in values:
            cap = text(values, "cap", most=64)
            own = f"cap.{playbook}."
            its = [rule.removeprefix(own) for rule in rules if rule.startswith(own)]
            if cap not in its:
                raise RowRefused(
                    f"`cap`: the playbook {playbook} has no cap {cap!r}; it has {', '.join(its) or 'none'}"
                )
            rules = [own + cap]
        at = moment(values, "at", until=now)
        return Contacts(text(values, "user_id"), tuple(rules), at, number(values, "count", 1, _MAX_CONTACTS))

    def size(self, row: Contacts) -> int:
        return 2 * row.count * len(row.rules) + 1

    def record(self, connection: Connection, rows: Sequence[Contacts], now: datetime) -> Sequence[bool]:
        uses = [use for row in rows for use in row.uses()]
        facts = [
            NewFact(Kind.MESSAGE, use.id, LABEL, use.user_id, use.used_at, PastContact(use.rule))
            for use in uses
        ]
        recorded = ledger.append_unless_known(connection, facts, now)
        new = {use.id: use for use in uses if use.id in recorded}
        self._counters.add_past(connection, list(new.values()))
        users.add_users(connection, [(use.user_id, use.used_at) for use in new.values()])
        outcomes = []
        for row in rows:
            mine = {use.id for use in row.uses()}
            outcomes.append(bool(mine & recorded))
            # What comes twice within the rows is new once.
            recorded -= mine
        return outcomes

    def recorded(self, rows: Sequence[Contacts]) -> None:
        self._counters.forget(sorted({row.user_id for row in rows}))
