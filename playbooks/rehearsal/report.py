"""What a rehearsal came to, as it is told: plain data, money in minor units with its currency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from playbooks.rehearsal.expecting import Expected


class Audience(msgspec.Struct, frozen=True):
    """Whom a playbook is for: the audience (none: everybody), how many, and as of when they were found."""

    id: str | None
    users: int
    as_of: datetime | None


class Stopped(msgspec.Struct, frozen=True):
    """How many users a rule stops: `users` wholly, `partly` those of whom it stops only some arms."""

    rule: str
    users: int
    partly: int


class ArmShare(msgspec.Struct, frozen=True):
    """An arm, for how many users it competes (exact), and how many are to get it.

    `value`, `cost` and `liability` of giving it once are minor units of `currency`.
    """

    arm: str
    channel: str
    content: str
    offer: str
    users: int
    gets: Expected
    value: int
    cost: int
    liability: int
    currency: str


class NamedShare(msgspec.Struct, frozen=True):
    """How many users are to get something on a channel, or with a content."""

    name: str
    gets: Expected


class Cost(msgspec.Struct, frozen=True):
    """What it comes to in minor units of a currency.

    `expected` and its interval are by the arms' expected costs; `most` if each user who is left gets the
    arm that costs most; `liability` at worst, if each gets the one of the largest liability and redeems it.
    """

    currency: str
    expected: Expected
    most: int
    liability: int


class BudgetUse(msgspec.Struct, frozen=True):
    """A budget, stock or quota in its present period, and what the playbook is to take from it.

    `limit`, `taken` so far and `expected` are minor units of `currency`, or pieces where there is none. If
    more is expected than there is room for, `lost` users come too late for the arms that take from it.
    """

    rule: str
    period: str
    currency: str
    limit: int
    taken: int
    expected: Expected
    lost: float


class When(msgspec.Struct, frozen=True):
    """What begins it: a trigger, or else whoever asks for its placement. `next` are the next moments, UTC."""

    trigger: str | None
    said: str
    next: Sequence[datetime] = ()


class Example(msgspec.Struct, frozen=True):
    """One user of the audience and what the user would get: an arm with its text, or why nothing.

    `stopped_by` are rules; `problem` says what keeps a content from being filled.
    """

    user_id: str
    arm: str | None = None
    propensity: float | None = None
    subject: str | None = None
    body: str | None = None
    stopped_by: Sequence[str] = ()
    why: str = ""
    problem: str | None = None


class Rehearsed(msgspec.Struct, frozen=True):
    """A playbook played over its audience at a moment, one decision a user, without doing anything.

    `audience`, `stopped`, `elsewhere` (users whom another version of it serves) and `left` are exact.
    What is drawn is expected from the policy's probabilities for `sampled` of those who are left, drawn
    by `seed`: `contacted` get an arm of this playbook, `others` one of another playbook, `nothing` is drawn
    for the rest, and of those of whom no features are known (`unknown`) the policy is not asked. `budgets`
    that are full stop their arms; what runs out on the way is told there and taken from no other number.
    """

    playbook: str
    version: int | None
    state: str
    placement: str
    at: datetime
    policy: str
    audience: Audience
    stopped: Sequence[Stopped]
    elsewhere: int
    left: int
    seed: str
    sampled: int
    contacted: Expected
    others: Expected
    nothing: Expected
    unknown: Expected
    arms: Sequence[ArmShare]
    channels: Sequence[NamedShare]
    contents: Sequence[NamedShare]
    costs: Sequence[Cost]
    budgets: Sequence[BudgetUse]
    when: When
    examples: Sequence[Example]


def plain(rehearsed: Rehearsed) -> Mapping[str, Any]:
    """Return it as JSON says it."""
    told: Mapping[str, Any] = msgspec.to_builtins(rehearsed)
    return told
