"""What is counted in Valkey, each over its shard: the uses of a user, the amount taken from a budget."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any

from sqlalchemy import Connection

from audiences.identity.models import Person
from playbooks.constraints.counting import UseLimit, Uses
from playbooks.counters import repository
from playbooks.counters.epochs import Asked, Epochs, shard_of
from playbooks.counters.port import Spend
from playbooks.counters.repository import UseRow
from storage.times import from_micros, to_micros

USES = "uses"
TOTAL = "total"
OPEN = "open"

# Expired reservations that are looked up in the journal at a time.
_SETTLE_AT_ONCE = 1_000
# Open reservations loaded in one call, so that no call outlasts the patience.
_LOAD_AT_ONCE = 2_000
_SEPARATOR = "\x1f"


def key_of(kind: str, subject: str) -> str:
    """Return the key of a subject; the shard in braces keeps its keys on one node of a cluster."""
    return f"np:{{{shard_of(subject)}}}:{kind}:{subject}"


def subject_of(key: str) -> str:
    """Return the subject whose key this is."""
    return key.split(":", 3)[3]


def of_person(person: Person) -> str:
    """Return the subject under which a person's uses are counted.

    Another one after each change of their profiles, so that what was counted before is read anew from the
    journal, which has the uses of all of them.
    """
    return f"{person.revision}{_SEPARATOR}{person.canonical}" if person.revision else person.canonical


def user_of(subject: str) -> str:
    """Return the user id in the subject of a person."""
    return subject.partition(_SEPARATOR)[2] or subject


class UserUses:
    """A person's uses under all caps, kept in one hash."""

    def __init__(self, epochs: Epochs, person: Person, now: datetime, keep: timedelta) -> None:
        """`keep` is how long the hash outlasts its last reservation."""
        self._epochs = epochs
        self.profiles = person.members
        self._now = now
        self._keep = keep // timedelta(milliseconds=1)
        subject = of_person(person)
        self._keys = [key_of(USES, subject)]
        self.shard = shard_of(subject)

    @property
    def key(self) -> str:
        """The key under which they lie."""
        return self._keys[0]

    def read(self, since: datetime) -> Uses:
        """Return the moments of counted uses after `since`, by rule, oldest first."""
        after = to_micros(since)
        _, reply = self._ask(self.reading(since), None)
        return self.moments(reply, after)

    def reading(self, since: datetime) -> Asked:
        """Return what is asked to read the uses after `since`."""
        return Asked("read_uses", self.shard, self._keys, [to_micros(since), to_micros(self._now)])

    @staticmethod
    def moments(reply: Sequence[Any], after: int) -> Uses:
        """Return the moments after another one (microseconds) from the reply to `reading`."""
        found: dict[str, list[int]] = {}
        for field, value in _pairs(reply[1]):
            rule = field.partition(_SEPARATOR)[2]
            if rule and (used_at := int(value.partition(" ")[0])) > after:
                found.setdefault(rule, []).append(used_at)
        return {rule: sorted(moments) for rule, moments in found.items()}

    def reserve(
        self, decision_id: str, limits: Sequence[UseLimit], ends: datetime, connection: Connection | None
    ) -> tuple[str, str | None]:
        """Reserve a use under each limit that counts; returns the epoch's token, and a rule that is full."""
        token, reply = self._ask(self.reserving(decision_id, limits, ends), connection)
        return token, self.full(reply, limits)

    def reserving(self, decision_id: str, limits: Sequence[UseLimit], ends: datetime) -> Asked:
        """Return what is asked to reserve a use under each limit that counts."""
        since = to_micros(self._now - max(limit.window for limit in limits))
        arguments: list[str | int] = [since, decision_id, to_micros(self._now), to_micros(ends), self._keep]
        for limit in limits:
            start = to_micros(self._now - limit.window)
            arguments += (limit.counter, limit.limit, start, int(limit.counts))
        return Asked("reserve_uses", self.shard, self._keys, arguments)

    @staticmethod
    def full(reply: Sequence[Any], limits: Sequence[UseLimit]) -> str | None:
        """Return the rule that is full by the reply to `reserving`, None where there was room."""
        if reply[0] != b"full":
            return None
        return next(limit.rule for limit in limits if limit.counter == reply[1].decode())

    def loading(self, rows: Sequence[UseRow], since: int) -> Asked:
        """Return what is told to take the uses after `since` (microseconds) from the journal."""
        fields = [text for row in rows for text in (_field(row), _value(row))]
        span = to_micros(self._now) - since
        return Asked("load_uses", self.shard, self._keys, [since, span, self._keep, *fields])

    def doubting(self, decision_id: str) -> Asked:
        """Return what is told to let the journal be asked about a decision's uses."""
        return Asked("doubt_uses", self.shard, self._keys, [decision_id])

    def recorded(self, connection: Connection, limits: Sequence[UseLimit], but: str) -> Uses:
        """Return the uses that the journal has, as `read` does, without those of the decision `but`."""
        since = to_micros(self._now - max(limit.window for limit in limits))
        found: dict[str, list[int]] = {}
        for row in repository.uses_of(connection, self.profiles, self._now, since=since):
            if row.decision_id != but:
                found.setdefault(row.rule, []).append(row.used_at)
        return found

    def doubt(self, decision_id: str) -> None:
        """Let the journal be asked about a decision's uses when somebody needs the room."""
        self._epochs.tell(self.doubting(decision_id), "")

    def kept_and_recounted(self, reader: Connection) -> tuple[int, int]:
        """Return how many counted uses the hash has, and how many the journal has in the same span."""
        fields = dict(self._fields(to_micros(self._now)))
        since = int(fields["since"])
        kept = sum(
            1
            for field, value in fields.items()
            if _SEPARATOR in field and int(value.partition(" ")[0]) > since
        )
        return kept, len(repository.uses_of(reader, self.profiles, self._now, since=since))

    def _fields(self, since: int) -> list[tuple[str, str]]:
        _, reply = self._ask(self.reading(from_micros(since)), None)
        return list(_pairs(reply[1]))

    def _ask(self, asked: Asked, connection: Connection | None) -> tuple[str, list[Any]]:
        # What is asked begins with the moment after which uses have to be known.
        since = int(asked.arguments[0])

        def load(token: str, _: Sequence[Any], reader: Connection) -> None:
            rows = repository.uses_of(reader, self.profiles, self._now, since=since)
            self._epochs.tell(self.loading(rows, since), token)

        return self._epochs.ask(asked, {b"load": load, b"settle": self._settle}, connection)

    def _settle(self, token: str, reply: Sequence[Any], reader: Connection) -> None:
        doubtful = list(_pairs(reply[0]))[:_SETTLE_AT_ONCE]
        decisions = sorted({field.partition(_SEPARATOR)[0] for field, _ in doubtful})
        journal = {_field(row): _value(row) for row in repository.uses_by(reader, decisions, self._now)}
        arguments = [text for field, seen in doubtful for text in (field, seen, journal.get(field, ""))]
        self._epochs.tell(Asked("settle_uses", self.shard, self._keys, arguments), token)


class BudgetAmount:
    """What is taken from a budget: a total, and the reservations that are open still."""

    def __init__(self, epochs: Epochs, key: str, now: datetime) -> None:
        self._epochs = epochs
        self._budget = key
        self._now = now
        self._keys = [key_of(TOTAL, key), key_of(OPEN, key)]
        self.shard = shard_of(key)

    @property
    def key(self) -> str:
        """The key under which the total lies."""
        return self._keys[0]

    def taken(self) -> int:
        """Return how much is reserved or committed."""
        _, reply = self._ask(self.reading(), None)
        return int(reply[1])

    def reading(self) -> Asked:
        """Return what is asked to read how much is taken; it is the second part of the reply."""
        return Asked("read_amount", self.shard, self._keys, [to_micros(self._now), _SETTLE_AT_ONCE])

    def reserve(
        self, decision_id: str, spend: Spend, ends: datetime, connection: Connection | None
    ) -> tuple[str, str | None]:
        """Reserve an amount; returns the epoch's token, and the budget's rule if it has no room."""
        token, reply = self._ask(self.reserving(decision_id, spend, ends), connection)
        return token, self.full(reply, spend)

    def reserving(self, decision_id: str, spend: Spend, ends: datetime) -> Asked:
        """Return what is asked to reserve an amount."""
        arguments: list[str | int] = [decision_id, to_micros(self._now), to_micros(ends)]
        arguments += [spend.amount, spend.budget.limit, _SETTLE_AT_ONCE]
        return Asked("reserve_amount", self.shard, self._keys, arguments)

    @staticmethod
    def full(reply: Sequence[Any], spend: Spend) -> str | None:
        """Return the budget's rule if it has no room by the reply to `reserving`."""
        return spend.budget.rule if reply[0] == b"full" else None

    def doubting(self, decision_id: str) -> Asked:
        """Return what is told to let the journal be asked about a decision's amount."""
        return Asked("doubt_amount", self.shard, self._keys, [decision_id])

    def doubt(self, decision_id: str) -> None:
        """Let the journal be asked about a decision's amount when somebody needs the room."""
        self._epochs.tell(self.doubting(decision_id), "")

    def _ask(self, asked: Asked, connection: Connection | None) -> tuple[str, list[Any]]:
        return self._epochs.ask(asked, {b"load": self._load, b"settle": self._settle}, connection)

    def _load(self, token: str, _: Sequence[Any], reader: Connection) -> None:
        taken, rows = repository.granted(reader, self._budget, self._now)
        mark = token_hex(8)
        total, open_ = (f"{key}:{mark}" for key in self._keys)
        for start in range(0, len(rows), _LOAD_AT_ONCE):
            part = rows[start : start + _LOAD_AT_ONCE]
            amounts = {f"={row.decision_id}": row.amount for row in part}
            self._epochs.fill(total, open_, amounts, {row.decision_id: row.expires_at or 0 for row in part})
        self._epochs.tell(Asked("load_amount", self.shard, [*self._keys, total, open_], [taken]), token)

    def _settle(self, token: str, reply: Sequence[Any], reader: Connection) -> None:
        doubtful = list(_pairs(reply[0]))
        decisions = [decision_id for decision_id, _ in doubtful]
        journal = {
            row.decision_id: "committed" if row.expires_at is None else str(row.expires_at)
            for row in repository.grants_by(reader, self._budget, decisions, self._now)
        }
        arguments = [
            text
            for decision_id, seen in doubtful
            for text in (decision_id, seen, journal.get(decision_id, "gone"))
        ]
        self._epochs.tell(Asked("settle_amount", self.shard, self._keys, arguments), token)


def _pairs(flat: Sequence[bytes]) -> zip[tuple[str, str]]:
    texts = [one.decode() for one in flat]
    return zip(texts[::2], texts[1::2], strict=True)


def _field(row: UseRow) -> str:
    return f"{row.decision_id}{_SEPARATOR}{row.rule}"


def _value(row: UseRow) -> str:
    return f"{row.used_at} {'' if row.expires_at is None else row.expires_at}"
