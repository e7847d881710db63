"""Keeps codes from being guessed: whoever tries too many wrong ones has to wait.

Wrong codes are counted over sliding windows, by the shop's key, by the user and by the visitor whom a call
names, in this process: of several processes each lets its own share through. Who is over a limit is refused
whatever the code, or the answers would still tell the right ones from the wrong. Each limit that is reached
is a fact.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from datetime import datetime
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final, TypeVar

import msgspec

from delivery.coupons.answers import Checked
from delivery.coupons.discount import Reason
from delivery.coupons.errors import TooManyGuesses, UnknownCoupon
from delivery.coupons.guess_limits import GuessLimits, Window
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.writer import Lane

T = TypeVar("T")

GUESSED: Final = "coupons_guessed"
# Who is remembered at once; who is forgotten may try anew.
_SUBJECTS = 50_000
# Whole networks of this size are one customer's (RFC 6177).
_IPV6_PREFIX = 64


class Trying(msgspec.Struct, frozen=True):
    """Who tries codes: through which key, for which user, on behalf of which visitor ('' where not said)."""

    key: str
    user_id: str = ""
    visitor: str = ""


class GuessFact(msgspec.Struct, frozen=True):
    """Body of the fact that somebody tried too many wrong codes; no code and no address is in it."""

    per: str
    key: str
    tries: int
    until: datetime


class Guesses:
    """Counts wrong codes of one service. Thread-safe."""

    def __init__(self, database: Database, clock: Clock, limits: GuessLimits | None = None) -> None:
        self._database, self._clock, self._limits = database, clock, limits or GuessLimits()
        self._tried: OrderedDict[tuple[str, bytes], deque[datetime]] = OrderedDict()
        self._lock = threading.Lock()

    def guarded(self, who: Trying, call: Callable[[], T], others: Callable[[], int] = lambda: 0) -> T:
        """Make a call about a code, unless whoever asks tried too many wrong ones.

        Args:
            others: tells how many of the other codes that the call names are wrong.

        Raises:
            TooManyGuesses: with the seconds until the next try.
        """
        self._check(who)
        wrong = others()
        try:
            done = call()
        except UnknownCoupon:
            self._count(who, wrong + 1)
            raise
        unknown = isinstance(done, Checked) and any(one.reason is Reason.UNKNOWN for one in done.reasons)
        self._count(who, wrong + unknown)
        return done

    def _check(self, who: Trying) -> None:
        now, until = self._clock.now(), None
        with self._lock:
            for window, subject in self._subjects(who):
                over = _over(self._tried.get(subject), window, now)
                until = over if until is None or (over is not None and over > until) else until
        if until is not None:
            raise TooManyGuesses(until, now)

    def _count(self, who: Trying, wrong: int) -> None:
        if not wrong:
            return
        now, reached = self._clock.now(), []
        with self._lock:
            for window, subject in self._subjects(who):
                tried = self._tried.pop(subject, None) or deque(maxlen=window.tries)
                before = _over(tried, window, now)
                tried.extend([now] * wrong)
                self._tried[subject] = tried
                if before is None and (until := _over(tried, window, now)) is not None:
                    reached.append((subject[0], window.tries, until))
            while len(self._tried) > _SUBJECTS:
                self._tried.popitem(last=False)
        if not reached:
            return
        facts = [
            NewFact(
                Kind.ALERT,
                new_id(now),
                GUESSED,
                (who.user_id or None) if per == "user" else None,
                now,
                GuessFact(per, who.key, tries, until),
            )
            for per, tries, until in reached
        ]
        self._database.write(lambda c: ledger.append(c, facts, now), rows=len(facts), lane=Lane.REQUEST)

    def _subjects(self, who: Trying) -> Iterator[tuple[Window, tuple[str, bytes]]]:
        limits = self._limits
        for per, window, name in (
            ("key", limits.key, who.key),
            ("user", limits.user, who.user_id),
            ("visitor", limits.visitor, network_of(who.visitor)),
        ):
            if window is not None and name:
                yield window, (per, blake2b(name.encode(), digest_size=16).digest())


def network_of(visitor: str) -> str:
    """Return by what a visitor is counted: an address of IPv6 by its network, all else as it is.

    >>> network_of("2001:db8::1"), network_of("192.0.2.7"), network_of("session-5")
    ('2001:db8::/64', '192.0.2.7', 'session-5')
    """
    try:
        address = ip_address(visitor)
    except ValueError:
        return visitor
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(ip_network((address, _IPV6_PREFIX), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)


def _over(tried: deque[datetime] | None, window: Window, now: datetime) -> datetime | None:
    """Return until when nothing more may be tried, None if it may."""
    if not tried or len(tried) < window.tries:
        return None
    until = tried[0] + window.within
    return until if until > now else None
