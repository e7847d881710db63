"""What is checked before each send, cheapest first; the limits last, for they reserve.

A check rules over messages, and what one stops or holds the next ones are not asked about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from sqlalchemy import Connection

from audiences.consent.service import Consents
from audiences.errors import FeaturesUnavailable
from audiences.identity.people import People
from decision.expiry_check import ExpiryCheck
from decision.gate_playbooks import Playbooks
from decision.limits import Limits
from decision.overtaken_check import OvertakenCheck
from decision.permission_check import PermissionCheck
from decision.whereabouts import Whereabouts
from delivery.channels.channel import Channel
from delivery.channels.webhook import WEBHOOK
from delivery.gate import Send
from delivery.models import Enrolment
from delivery.outbox import LEASE
from playbooks.counters import ASK_AGAIN, PASSING
from playbooks.library.repository import documents
from playbooks.library.shelf import WINDOWS
from playbooks.windows import Hold, Ruling, Skip, Windows, ruling_of

_log = structlog.get_logger(__name__)

# While it can't be read where users live, their messages wait so long before they are looked at again.
_UNREADABLE = timedelta(minutes=1)


class Check(Protocol):
    """One of the things that a gate looks at."""

    def rule(self, connection: Connection, sends: Sequence[Send], now: datetime) -> Sequence[Ruling]:
        """Return what becomes of each message, None where this check lets it through."""
        ...


class WindowCheck:
    """Send windows: those of rules, the playbook's own, and the send's. Webhooks reach no user."""

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
            None
            if send.channel == WEBHOOK
            else ruling_of(windows, purpose, named, send.channel, places[send.enrolment.user_id], now)
            for send, (purpose, named) in zip(sends, of_sends, strict=True)
        ]

    def _named(self, connection: Connection, send: Send) -> tuple[str, list[str]]:
        playbook = self._playbooks.of(connection, send.enrolment)
        if playbook is None:
            return "promotional", []
        return playbook.document.purpose, playbook.document.windows_of(send.step)

    def _read(self, connection: Connection) -> Windows:
        text = documents(connection, WINDOWS).get(WINDOWS)
        if text != self._text:
            self._windows = Windows() if text is None else Windows.model_validate_json(text)
            self._text = text
        return self._windows


class LimitCheck:
    """The limits that let the decision through still do; reserves the use that is about to be made."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def rule(self, connection: Connection, sends: Sequence[Send], now: datetime) -> Sequence[Ruling]:
        # What expires during the attempt would be free for others before the send is counted.
        until = now + LEASE
        self._limits.line_up(connection, [send.enrolment for send in sends], (), until)
        refused = [self._limits.hold(connection, send.enrolment, now, until, send.channel) for send in sends]
        return [_ruled(rule, now) for rule in refused]


def _ruled(rule: str | None, now: datetime) -> Ruling:
    if rule is None:
        return None
    # Nobody can say whether there is room: that is no reason never to send it.
    return Hold(now + ASK_AGAIN, rule) if rule in PASSING else Skip(rule)


class Gate:
    """Implements `delivery.gate.SendGate` by checks that are asked one after the other."""

    def __init__(self, checks: Sequence[Check], limits: Limits) -> None:
        """Ask the checks in their order, the limits after all others."""
        self._checks, self._limits = (*checks, LimitCheck(limits)), limits

    def check(self, connection: Connection, sends: Sequence[Send], now: datetime) -> Sequence[Ruling]:
        ruled: list[Ruling] = [None] * len(sends)
        left = list(range(len(sends)))
        for check in self._checks:
            found = check.rule(connection, [sends[at] for at in left], now) if left else ()
            for at, one in zip(left, found, strict=True):
                ruled[at] = one
            left = [at for at in left if ruled[at] is None]
        return ruled

    def committed(self, connection: Connection, enrolment: Enrolment, channel: str, now: datetime) -> None:
        self._limits.commit(connection, enrolment, channel)


def open_gate(
    playbooks: Playbooks,
    limits: Limits,
    whereabouts: Whereabouts,
    people: People,
    consents: Consents,
    channels: Mapping[str, Channel],
) -> Gate:
    """Return the gate of a service."""
    ways = {name: channel.consent for name, channel in channels.items()}
    checks = (
        ExpiryCheck(),
        OvertakenCheck(playbooks, people),
        PermissionCheck(playbooks, limits.terms, people, consents, ways),
        WindowCheck(playbooks, whereabouts),
    )
    return Gate(checks, limits)
