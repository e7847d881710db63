"""What Valkey does for many at once, in few round trips: reads uses, and reserves for decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy import Connection

from audiences.identity.models import Person
from playbooks.constraints.counting import Uses
from playbooks.counters import repository
from playbooks.counters.epochs import Epochs
from playbooks.counters.held import Held, keep_all
from playbooks.counters.port import COUNTERS_LOST
from playbooks.counters.subjects import UserUses
from playbooks.errors import CountersUnreachable
from storage.times import to_micros


def read_together(
    epochs: Epochs, people: Sequence[Person], now: datetime, keep: timedelta, since: datetime
) -> list[Uses]:
    """Return the uses of people after `since`; those that the server lacks are read from the journal at once.

    Raises:
        CountersUnreachable: nothing can be said now.
    """
    parts = [UserUses(epochs, person, now, keep) for person in people]
    after = to_micros(since)

    def load(unknown: Mapping[int, str], reader: Connection) -> None:
        profiles = sorted({profile for place in unknown for profile in parts[place].profiles})
        rows = repository.uses_of_many(reader, profiles, now, since=after)
        told = [
            parts[place].loading([row for one in parts[place].profiles for row in rows.get(one, ())], after)
            for place in unknown
        ]
        epochs.tell_all(told, list(unknown.values()))

    found = epochs.ask_all([part.reading(since) for part in parts], load)
    return [
        part.read(since) if one is None else part.moments(one.reply, after)
        for part, one in zip(parts, found, strict=True)
    ]


class HeldTogether:
    """Implements `ReservedTogether`."""

    def __init__(self, epochs: Epochs, held: Sequence[Held], now: datetime) -> None:
        self._epochs, self._now = epochs, now
        self._held = {one.wanted.decision_id: one for one in held}

    def take(self) -> None:
        """Take the first step of all in their order, then the second of those that got it, and so on.

        Who was refused while somebody else held the room who then gave it back is asked for once more, so
        that nobody goes without what one after the other would have got.
        """
        given_back: set[str] = set()
        while asking := [(one, asked) for one in self._held.values() if (asked := one.next) is not None]:
            found = self._epochs.ask_all([asked for _, asked in asking])
            for (one, _), reply in zip(asking, found, strict=True):
                if reply is None:
                    one.take_next()
                else:
                    one.found(*reply)
            gone = [one for one, _ in asking if one.refused is not None]
            given_back |= {doubt.keys[0] for one in gone for doubt in one.doubts}
            self._drop(gone)
        for one in self._held.values():
            if one.full in given_back:
                one.start_again()
                one.take()

    def keep(self, connection: Connection, decision_ids: Sequence[str]) -> Mapping[str, str]:
        held = [one for name in decision_ids if (one := self._held.get(name)) is not None]
        refused = {one.wanted.decision_id: one.refused for one in held if one.refused is not None}
        taken = [one for one in held if one.refused is None]
        tokens = {one.wanted.decision_id: set(one.tokens) for one in taken}
        asked = set().union(*tokens.values())
        current = self._epochs.still_all(connection, asked) if asked else asked
        kept = [one for one in taken if tokens[one.wanted.decision_id] <= current]
        lost = [one.wanted.decision_id for one in taken if not tokens[one.wanted.decision_id] <= current]
        keep_all(connection, kept, self._now)
        return {**refused, **dict.fromkeys(lost, COUNTERS_LOST)}

    def drop(self, decision_ids: Sequence[str]) -> None:
        self._drop([one for name in decision_ids if (one := self._held.get(name)) is not None])

    def _drop(self, held: Sequence[Held]) -> None:
        doubts = [doubt for one in held for doubt in one.doubts]
        with suppress(CountersUnreachable):
            self._epochs.tell_all(doubts, [""] * len(doubts))
