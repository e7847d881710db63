"""What is checked before each send, cheapest first; the caps last, for they reserve.

A check rules over messages, and what one stops or holds the next ones are not asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from sqlalchemy import Connection

from audiences.errors import FeaturesUnavailable
from decision.whereabouts import Whereabouts
from delivery.gate import Send
from delivery.models import Enrolment
from delivery.outbox import LEASE
from playbooks.counters import Counters, wanted_by
from playbooks.library.repository import documents, version_body
from playbooks.library.shelf import WINDOWS
from playbooks.models import Playbook
from playbooks.windows import Hold, Place, Ruling, Skip, Window, Windows, rule_of
from playbooks.windows.ruling import ruling

_log = structlog.get_logger(__name__)

# While it can't be read where users live, their messages wait so long before they are looked at again.
_UNREADABLE = timedelta(minutes=1)


class Playbooks:
    """Playbooks by version; none of them ever changes, so each is read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], Playbook | None] = {}

    def of(self, connection: Connection, enrolment: Enrolment) -> Playbook | None:
        """Return the playbook of a run, None where the library never had it."""
        key = (enrolment.playbook, enrolment.playbook_version)
        if key not in self._known:
            body = version_body(connection, *key)
            self._known[key] = body.playbook if body else None
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
        return playbook.purpose, [playbook.window] if playbook.window else []

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


class CapCheck:
    """The caps that let the decision through still do; reserves the use that is about to be made."""

    def __init__(self, playbooks: Playbooks, counters: Counters) -> None:
        self._playbooks, self._counters = playbooks, counters

    def rule(self, connection: Connection, sends: Sequence[Send], now: datetime) -> Sequence[Ruling]:
        return [self._rule(connection, send.enrolment, now) for send in sends]

    def _rule(self, connection: Connection, enrolment: Enrolment, now: datetime) -> Ruling:
        playbook = self._playbooks.of(connection, enrolment)
        if playbook is None:
            return None
        wanted = wanted_by(playbook, enrolment.user_id, enrolment.decision_id, again=True)
        # What expires during the attempt would be free for others before the send is counted.
        if wanted is None or self._counters.holds(connection, enrolment.decision_id, now + LEASE):
            return None
        refused = self._counters.reserve(wanted, now, connection).keep(connection)
        return None if refused is None else Skip(refused)


class Gate:
    """Implements `delivery.gate.SendGate` by checks that are asked one after the other."""

    def __init__(self, checks: Sequence[Check], playbooks: Playbooks, counters: Counters) -> None:
        self._checks, self._playbooks, self._counters = checks, playbooks, counters

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
        playbook = self._playbooks.of(connection, enrolment)
        if playbook is not None and playbook.constraints:
            self._counters.commit(connection, [enrolment.decision_id])


def open_gate(counters: Counters, whereabouts: Whereabouts) -> Gate:
    """Return the gate of a service."""
    playbooks = Playbooks()
    checks = (WindowCheck(playbooks, whereabouts), CapCheck(playbooks, counters))
    return Gate(checks, playbooks, counters)
