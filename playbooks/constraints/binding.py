"""Constraints joined with one version of a playbook: what has to be asked before it may be used.

Made once for each version and each set of constraints; asking is `playbooks.constraints.allowing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from audiences.consent.models import Channel
from audiences.rules import OneUser, Rule, RuleError, Schema, Type, compile_one, parse
from playbooks.constraints.circumstances import Needs
from playbooks.constraints.counting import UNLIMITED, UseLimit
from playbooks.constraints.documents import (
    CALENDAR,
    Calendar,
    Cap,
    ConsentNeeded,
    Constraint,
    CoolDown,
    Fatigue,
    Group,
    Hold,
    Layer,
    rule_of,
)
from playbooks.constraints.fatigue import FORGOTTEN_AFTER, Tiring
from playbooks.constraints.scoping import ALL, Arms, Offered, groups_of
from playbooks.constraints.spending import Spending, of_offers, spending_of
from playbooks.constraints.windows import longest
from playbooks.content.expiry import End
from playbooks.models import Arm, Playbook
from playbooks.offers import Offer

LAYERS = ("eligibility", "applicability", "suitability")
# What rules may ask of the moment of a decision, beside the user's features, tags and audiences.
CONTEXT: Mapping[str, Type] = {
    "context.placement": Type.TEXT,
    "context.hour": Type.NUMBER,
    "context.weekday": Type.NUMBER,
}


class Condition(NamedTuple):
    """A rule that must be true for these arms; without a tree it can't be read, and is never true."""

    rule: str
    text: str
    parsed: Rule | None
    arms: Arms


class OnHold(NamedTuple):
    """These arms are held from one event to the other."""

    rule: str
    opened_by: str
    closed_by: str
    arms: Arms


class Agreement(NamedTuple):
    """These arms need the user's consent to a purpose on a channel."""

    rule: str
    purpose: str
    channel: Channel
    arms: Arms


class After(NamedTuple):
    """These arms rest for so long after an event of the user."""

    rule: str
    event: str
    lasts: timedelta
    arms: Arms


class Counted(NamedTuple):
    """Uses that are counted: `stops` are the arms it may stop, `counts` those whose uses count.

    Arms of which `part` says different things are counted apart.
    """

    rule: str
    limit: int
    window: timedelta | Calendar
    of_account: bool
    part: Callable[[Arm], str] | None
    stops: Arms
    counts: Arms

    def key(self, arm: Arm) -> str:
        """Return what a use of an arm is counted under."""
        return self.rule if self.part is None else f"{self.rule}@{self.part(arm)}"

    def limit_for(self, arm: Arm) -> int:
        """Return how many uses an arm may make; there is no limit to one that only counts."""
        return self.limit if self.stops is ALL or arm.id in self.stops else UNLIMITED

    def is_about(self, arm: Arm) -> bool:
        """Whether an arm is stopped by it or counts."""
        stops, counts = self.stops, self.counts
        return stops is ALL or counts is ALL or arm.id in stops or arm.id in counts

    def takes(self, arm: Arm) -> bool:
        """Whether a use of an arm counts."""
        return self.counts is ALL or arm.id in self.counts


@dataclass(frozen=True)
class Terms:
    """All constraints that one version of a playbook is under, each with the arms it holds for.

    `ends` are when contents of its arms are over.
    """

    playbook: Playbook
    arms: Sequence[Arm]
    constraints: Sequence[Constraint]
    schema: Schema
    ends: Sequence[End] = ()
    offers: Sequence[Offer] = ()
    holds: Sequence[OnHold] = field(init=False)
    agreements: Sequence[Agreement] = field(init=False)
    after: Sequence[After] = field(init=False)
    counted: Sequence[Counted] = field(init=False)
    groups: Sequence[str] = field(init=False)
    spends: Sequence[Spending] = field(init=False)
    tiring: Sequence[Tiring] = field(init=False)

    def __post_init__(self) -> None:
        offered = Offered.of(self.playbook, self.arms)
        named = [(one, rule_of(one)) for one in self.constraints]
        named += [(one, rule_of(one, self.playbook.id)) for one in self.playbook.constraints]
        made: dict[str, list[object]] = {
            **{"holds": [], "agreements": [], "after": [], "counted": [], "tiring": []},
            "spends": list(of_offers(self.offers, offered)),
        }
        for one, rule in named:
            for place, bound in _bound(one, rule, self.playbook, offered, self._groups):
                made[place].append(bound)
        for place, bounds in made.items():
            object.__setattr__(self, place, tuple(bounds))
        object.__setattr__(self, "groups", tuple(self._groups))

    @cached_property
    def _groups(self) -> list[str]:
        return groups_of(self.playbook, [one for one in self.constraints if isinstance(one, Group)])

    @cached_property
    def every(self) -> frozenset[str]:
        """The ids of all arms."""
        return frozenset(arm.id for arm in self.arms)

    @cached_property
    def lasting(self) -> bool:
        """Whether uses of an arm are counted in the same way for everybody at any moment."""
        return not any(one.of_account or one.window in CALENDAR for one in self.counted)

    @cached_property
    def limits(self) -> dict[str, tuple[UseLimit, ...]]:
        """What uses of arms are counted under, by arm, as far as that was asked and is `lasting`."""
        return {}

    @cached_property
    def conditions(self) -> Sequence[Condition]:
        """The rules of its layers, outermost layer first; of one layer those of all playbooks first."""
        offered = Offered.of(self.playbook, self.arms)
        found: list[tuple[str, Condition]] = []
        for one, own in [(one, None) for one in self.constraints] + [
            (one, self.playbook.id) for one in self.playbook.constraints
        ]:
            if isinstance(one, Layer) and (arms := offered.held_by(one)) != frozenset():
                found.append((one.kind, self._condition(rule_of(one, own), one.rule, arms)))
        of_its_own = [(layer, getattr(self.playbook.rules, layer)) for layer in LAYERS]
        found += [
            (layer, self._condition(f"{layer}.{self.playbook.id}", text, ALL))
            for layer, text in of_its_own
            if text is not None
        ]
        return tuple(one for _, one in sorted(found, key=lambda pair: LAYERS.index(pair[0])))

    @cached_property
    def answers(self) -> OneUser:
        """All rules that can be read, as one function."""
        return compile_one([one.parsed for one in self.conditions if one.parsed is not None])

    @cached_property
    def names(self) -> frozenset[str]:
        """Names of the features that its rules read."""
        return frozenset(self.answers.names) - CONTEXT.keys()

    @cached_property
    def needs(self) -> Needs:
        """What has to be known of a user."""
        windows = [longest(one.window) for one in self.counted]
        return Needs(
            lookback=max(windows, default=timedelta(0)),
            tags=any("tag" in one.text.lower() for one in self.conditions),
            consents=bool(self.agreements),
            account=any(one.of_account for one in self.counted),
            events=frozenset(
                [name for one in self.holds for name in (one.opened_by, one.closed_by)]
                + [one.event for one in self.after]
            ),
        )

    @property
    def counts_by_period(self) -> bool:
        """Whether something is taken from budgets, which are counted by the period that it is."""
        return bool(self.spends) or self.playbook.exploration_budget is not None

    def needs_at(self, now: datetime) -> Needs:
        """What has to be known of a user, and of the budgets of the periods that it is now."""
        exploring = self.playbook.exploration_budget
        if not self.counts_by_period:
            return self.needs
        budgets = {one.budget(now) for one in self.spends}
        if exploring is not None:
            budgets.add(exploring.counted(self.playbook.id, now))
        return self.needs | Needs(budgets=frozenset(budgets))

    def _condition(self, rule: str, text: str, arms: Arms) -> Condition:
        try:
            return Condition(rule, text, parse(text, self.schema), arms)
        except RuleError:
            # It could be read when it was imported, but a name in it is gone since.
            return Condition(rule, text, None, arms)


def _bound(
    one: Constraint, rule: str, playbook: Playbook, offered: Offered, groups: Sequence[str]
) -> Iterator[tuple[str, object]]:
    """Yield what a constraint comes to for a playbook, and where in its terms it belongs."""
    if isinstance(one, Group):
        if one.window is not None and one.id in groups:
            yield "counted", Counted(rule, 1, one.window, False, None, ALL, ALL)
        return
    arms = offered.held_by(one)
    if isinstance(one, Fatigue):
        contacts = offered.where(lambda arm: offered.fits(one.contacts, arm))
        window = FORGOTTEN_AFTER * one.half_life
        yield "counted", Counted(rule, UNLIMITED, window, False, None, frozenset(), contacts)
        yield "tiring", Tiring(rule, one.cost.amount, one.cost.currency, one.half_life, arms)
        return
    if isinstance(one, CoolDown) and one.after == "contact":
        yield "counted", Counted(rule, 1, one.lasts, False, None, arms, ALL)
    if arms == frozenset() or isinstance(one, Layer):
        return
    if isinstance(one, Cap):
        part = None if one.each is None else _PARTS[one.each](playbook)
        yield "counted", Counted(rule, one.limit, one.window, one.per == "account", part, arms, arms)
    elif isinstance(one, CoolDown) and one.after == "playbook":
        part = _PARTS["playbook"](playbook)
        yield "counted", Counted(rule, 1, one.lasts, False, part, arms, arms)
    elif isinstance(one, CoolDown) and one.after == "conversion":
        yield "after", After(rule, playbook.goal.event, one.lasts, arms)
    elif isinstance(one, Hold):
        yield "holds", OnHold(rule, one.opened_by, one.closed_by, arms)
    elif (spending := spending_of(one, rule, arms)) is not None:
        yield "spends", spending
    elif isinstance(one, ConsentNeeded):
        yield from (("agreements", made) for made in _agreements(one, rule, playbook, offered))


def _agreements(one: ConsentNeeded, rule: str, playbook: Playbook, offered: Offered) -> Iterator[Agreement]:
    for channel in sorted(set(one.channels.values())):
        arms = offered.where(
            lambda arm, channel=channel: one.channels.get(arm.channel) is channel and offered.covers(one, arm)  # type: ignore[misc]
        )
        if arms != frozenset():
            yield Agreement(rule, one.purpose or playbook.purpose, channel, arms)


_PARTS: Mapping[str, Callable[[Playbook], Callable[[Arm], str]]] = {
    "playbook": lambda playbook: lambda arm: playbook.id,
    "purpose": lambda playbook: lambda arm: playbook.purpose,
    "channel": lambda playbook: lambda arm: arm.channel,
    "offer": lambda playbook: lambda arm: arm.offer,
}


def asks_for_zone(constraints: Sequence[Constraint]) -> bool:
    """Whether constraints look at the user's own clock."""
    return any(getattr(one, "window", None) in CALENDAR for one in constraints)
