"""What counts against a user or an account: limits of uses, and whether one is reached; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType

import msgspec

from storage.times import to_micros

# Moments of the uses that count, in microseconds (`storage.times`), by what they are counted under.
Uses = Mapping[str, Sequence[int]]

# The rule that stops whatever is counted while nobody can say how much room is left.
COUNTERS_UNREACHABLE = "counters_unreachable"
# What is read from counters that do not answer; told from a user without uses by identity.
UNREADABLE: Uses = MappingProxyType({})
# As a limit: what is counted so is never full.
UNLIMITED = 2**31

MOST_COUNTED = 2**53

# Nobody's user id begins so: of accounts, whose uses stand beside those of users.
_ACCOUNT = "account\x1e"


class UseLimit(msgspec.Struct, frozen=True):
    """A limit as it is counted: at most `limit` uses in any span of `window`.

    `rule` is what it stops under, `key` what it is counted under where that is not the rule itself. It is the
    user's unless `subject` names whose it is (see `of_account`). One that does not `count` is only held
    against what others counted.
    """

    rule: str
    limit: int
    window: timedelta
    key: str = ""
    subject: str = ""
    counts: bool = True

    @property
    def counter(self) -> str:
        """What it is counted under."""
        return self.key or self.rule


class Budget(msgspec.Struct, frozen=True):
    """At most `limit` units in all within one period: money in minor units, coupons of a stock.

    `rule` is the id it suppresses under, `period` names the span it holds for (`2026-03`, or `all`).
    `limit` is below `MOST_COUNTED`, up to which Valkey's scripts count exactly.
    """

    rule: str
    period: str
    limit: int

    @property
    def key(self) -> str:
        """What the budget is counted under; each period has its own."""
        return f"{self.rule}@{self.period}"


class Spend(msgspec.Struct, frozen=True):
    """An amount (at least 1) to be taken from a budget."""

    budget: Budget
    amount: int


def of_account(account: str) -> str:
    """Return the subject under which the uses of all users of an account are counted."""
    return f"{_ACCOUNT}{account}"


def full_limit(limits: Sequence[UseLimit], uses: Uses, now: datetime) -> str | None:
    """Return the rule id of the first limit that has no room left, or None.

    A use counts while it is younger than the limit's window: used_at > now - window.
    """
    return next((limit.rule for limit in limits if used(limit, uses, now) >= limit.limit), None)


def used(limit: UseLimit, uses: Uses, now: datetime) -> int:
    """Return how many uses count against a limit."""
    moments = uses.get(limit.counter)
    if not moments:
        return 0
    since = to_micros(now - limit.window)
    return sum([used_at > since for used_at in moments])


def by_subject(limits: Sequence[UseLimit]) -> Mapping[str, list[UseLimit]]:
    """Return limits by whose they are: '' for the user's own."""
    found: dict[str, list[UseLimit]] = {}
    for limit in limits:
        found.setdefault(limit.subject, []).append(limit)
    return found
