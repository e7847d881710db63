"""What is checked before each send, cheapest first; the limits last, for they reserve.

A check rules over messages, and what one stops or holds the next ones are not asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from sqlalchemy import Connection

from audiences.errors import FeaturesUnavailable
from audiences.rules import Schema
from decision.expiry_check import ExpiryCheck
from decision.whereabouts import Whereabouts
from delivery.gate import Send
from delivery.models import Enrolment
from delivery.outbox import LEASE
from playbooks.constraints.binding import Terms
from playbooks.constraints.circumstances import Circumstances
from playbooks.constraints.rulebook import Rulebook
from playbooks.counters import Counters
from playbooks.counters.wanting import wanted_by
from playbooks.decision import Decision
from playbooks.library.house_rules import constraints_of, constraints_version
from playbooks.library.repository import documents, version_body
from playbooks.library.serving import PublishedPlaybook
from playbooks.library.shelf import WINDOWS
from playbooks.windows import Hold, Place, Ruling, Skip, Window, Windows, rule_of
from playbooks.windows.ruling import ruling
from storage import ledger
from storage.ledger import Kind

_log = structlog.get_logger(__name__)

# While it can't be read where users live, their messages wait so long before they are looked at again.
_UNREADABLE = timedelta(minutes=1)


class Playbooks:
    """Playbooks by version; none of them ever changes, so each is read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], PublishedPlaybook | None] = {}

    def of(self, connection: Connection, enrolment: Enrolment) -> PublishedPlaybook | None:
        """Return the playbook of a run, None where the library never had it."""
        key = (enrolment.playbook, enrolment.playbook_version)
        if key not in self._known:
            body = version_body(connection, *key)
            self._known[key] = body.published(key[1]) if body else None
        return self._known[key]


class Check(Protocol):
    """One of the things that a gate looks at."""

    def rule(self, connection: Connection, sends: Sequence[Send], now: datetime) -> Sequence[Ruling]:
        """Return what becomes of each message, None where this check lets it through."""
        ...


class WindowCheck:
    """Send windows: those of the rules of windows.yaml, the playbook's own, and the send's."""

    def __init__(self, playbooks: Playbooks, whereabouts: Whereabouts) -> None:
        self._playbooks, self._whereabouts = playbooks, whereabouts
        self._text: str | None = None
        self._windows = Windows()

    def rule(self, connection: Connection, sends: Sequence[Send], now: datetime) -> Sequence[Ruling]:
        windows = self._read(connection)
        of_sends = [self._named(connection, send) for send in sends]
        if not windows.rules and not any(named for _, named in of_sends):
            return [None] * len(sends)
        users = sorted({send.enrolment.user_id for send in sends})
        try:
            places = self._whereabouts.places(users, windows.countries)
        except FeaturesUnavailable as error:
            _log.warning("messages wait: it can't be read where users live", error=str(error))
            return [Hold(now + _UNREADABLE, "window") for _ in sends]
        return [
            _ruled(windows, purpose, named, send.channel, places[send.enrolment.user_id], now)
            for send, (purpose, named) in zip(sends, of_sends, strict=True)
        ]

    def _named(self, connection: Connection, send: Send) -> tuple[str, list[str]]:
        playbook = self._playbooks.of(connection, send.enrolment)
        if playbook is None:
            return "promotional", []
        document = playbook.document
        return document.purpose, [document.window] if document.window else []

    def _read(self, connection: Connection) -> Windows:
        text = documents(connection, WINDOWS).get(WINDOWS)
        if text != self._text:
            self._windows = Windows() if text is None else Windows.model_validate_json(text)
            self._text = text
        return self._windows


def _ruled(
    windows: Windows, purpose: str, named: Sequence[str], channel: str, place: Place, now: datetime
) -> Ruling:
    binding: list[Window] | None = windows.of(purpose, channel, place.country, named)
    if binding is None:
        # What the version names was taken out since: nobody can say when it may go out.
        gone = next(name for name in named if windows.get(name) is None)
        return Skip(rule_of(gone))
    return ruling(binding, place, now)


class LimitCheck:
    """The limits that let the decision through still do; reserves the use that is about to be made."""

    def __init__(self, playbooks: Playbooks, counters: Counters, schema: Schema) -> None:
        """`schema` is what the rules of constraints may speak of."""
        self._playbooks, self._counters = playbooks, counters
        self._rules = Rulebook(schema=schema)

    def rule(self, connection: Connection, sends: Sequence[Send], now: datetime) -> Sequence[Ruling]:
        return [self._rule(connection, send.enrolment, now) for send in sends]

    def terms(self, connection: Connection, enrolment: Enrolment) -> Terms | None:
        """Return the terms of a run's version under the constraints of now, None if they count nothing."""
        if constraints_version(connection) != self._rules.version:
            version, constraints = constraints_of(connection)
            self._rules = Rulebook(constraints, version, self._rules.schema)
        playbook = self._playbooks.of(connection, enrolment)
        terms = None if playbook is None else self._rules.terms(playbook)
        return terms if terms is not None and terms.counted else None

    def _rule(self, connection: Connection, enrolment: Enrolment, now: datetime) -> Ruling:
        terms = self.terms(connection, enrolment)
        # What expires during the attempt would be free for others before the send is counted.
        if terms is None or self._counters.holds(connection, enrolment.decision_id, now + LEASE):
            return None
        wanted = wanted_by(
            terms,
            enrolment.arm,
            _circumstances(connection, enrolment),
            decision_id=enrolment.decision_id,
            user_id=enrolment.user_id,
            now=now,
            again=True,
        )
        if wanted is None:
            return None
        refused = self._counters.reserve(wanted, now, connection).keep(connection)
        return None if refused is None else Skip(refused)


def _circumstances(connection: Connection, enrolment: Enrolment) -> Circumstances:
    """Return whose account it is and in which zone the user lives, as the decision knew it."""
    fact = ledger.get(connection, Kind.DECISION, enrolment.decision_id)
    if fact is None:
        return Circumstances()
    decision: Decision = fact.decode(Decision)
    return Circumstances(zone=decision.circumstances.zone, account=decision.circumstances.account)


class Gate:
    """Implements `delivery.gate.SendGate` by checks that are asked one after the other."""

    def __init__(self, checks: Sequence[Check], limits: LimitCheck, counters: Counters) -> None:
        """Ask the checks in their order, `limits` after all others."""
        self._checks, self._limits, self._counters = (*checks, limits), limits, counters

    def check(self, connection: Connection, sends: Sequence[Send], now: datetime) -> Sequence[Ruling]:
        ruled: list[Ruling] = [None] * len(sends)
        left = list(range(len(sends)))
        for check in self._checks:
            found = check.rule(connection, [sends[at] for at in left], now) if left else ()
            for at, one in zip(left, found, strict=True):
                ruled[at] = one
            left = [at for at in left if ruled[at] is None]
        return ruled

    def committed(self, connection: Connection, enrolment: Enrolment, now: datetime) -> None:
        if self._limits.terms(connection, enrolment) is not None:
            self._counters.commit(connection, [enrolment.decision_id])


def open_gate(counters: Counters, whereabouts: Whereabouts, schema: Schema) -> Gate:
    """Return the gate of a service; `schema` is what the rules of constraints may speak of."""
    playbooks = Playbooks()
    checks = (ExpiryCheck(), WindowCheck(playbooks, whereabouts))
    return Gate(checks, LimitCheck(playbooks, counters, schema), counters)
