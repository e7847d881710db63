"""Which arms of a playbook may be used for a user now, and by which rule the others are stopped; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from audiences.rules import RuleValueError
from playbooks.constraints.binding import Counted, Terms
from playbooks.constraints.circumstances import Circumstances
from playbooks.constraints.counting import COUNTERS_UNREACHABLE, UNREADABLE, UseLimit, of_account, used
from playbooks.constraints.scoping import ALL, Arms
from playbooks.constraints.windows import length
from playbooks.models import Arm


@dataclass(frozen=True)
class Moment:
    """A decision, as rules and windows see it: `features` are those that are recorded."""

    now: datetime
    placement: str
    features: Mapping[str, Any]
    audiences: Set[str]
    circumstances: Circumstances

    @cached_property
    def values(self) -> Mapping[str, Any]:
        """What rules of layers may ask for by name."""
        local = self.now.astimezone(ZoneInfo(self.circumstances.zone))
        return {
            **self.features,
            "context.placement": self.placement,
            "context.hour": local.hour,
            "context.weekday": local.isoweekday(),
        }


class Allowed(NamedTuple):
    """What is left of a playbook: ids of arms (`ALL` of them), and which arms each rule stopped."""

    arms: Arms
    stopped: Mapping[str, Arms]


_UNTOUCHED = Allowed(ALL, {})


def allowed(terms: Terms, moment: Moment) -> Allowed:
    """Return which arms may be used; each that may not is told under the first rule that stops it."""
    left: Arms = ALL
    stopped: dict[str, Arms] = {}
    for rule, arms in _stops(terms, moment):
        if arms is ALL and not stopped and terms.arms:
            return Allowed(frozenset(), {rule: ALL})
        everything = terms.every if left is ALL else left
        hit = everything if arms is ALL else everything & arms
        if not hit:
            continue
        before = stopped.get(rule, frozenset()) or frozenset()
        stopped[rule] = before | hit
        left = everything - hit
        if not left:
            break
    if not stopped:
        return _UNTOUCHED
    whole = len(terms.arms)
    told = {rule: ALL if arms is not None and len(arms) == whole else arms for rule, arms in stopped.items()}
    return Allowed(left, told)


def limits_of(terms: Terms, arm: Arm, circumstances: Circumstances, now: datetime) -> tuple[UseLimit, ...]:
    """Return what a use of an arm is counted under, and held against."""
    known = terms.limits.get(arm.id) if terms.lasting else None
    if known is None:
        zone = ZoneInfo(circumstances.zone)
        known = tuple(
            [
                _limit(one, arm, circumstances, zone, now)
                for one in terms.counted
                if _concerns(one, arm, circumstances)
            ]
        )
        if terms.lasting:
            terms.limits[arm.id] = known
    return known


def _concerns(one: Counted, arm: Arm, circumstances: Circumstances) -> bool:
    return one.is_about(arm) and not (one.of_account and circumstances.account is None)


def counted_uses(terms: Sequence[Terms], circumstances: Circumstances, now: datetime) -> dict[str, int]:
    """Return how many uses counted within its window under each counter that was looked at and not empty."""
    if not circumstances.uses:
        return {}
    zone, counts = ZoneInfo(circumstances.zone), dict[str, int]()
    for under in terms:
        for arm in under.arms if any(one.part for one in under.counted) else under.arms[:1]:
            for one in under.counted:
                if one.key(arm) in circumstances.uses and _concerns(one, arm, circumstances):
                    limit = _limit(one, arm, circumstances, zone, now)
                    counts[limit.counter] = used(limit, circumstances.uses, now)
    return {name: count for name, count in sorted(counts.items()) if count}


def _stops(terms: Terms, moment: Moment) -> Iterator[tuple[str, Arms]]:
    circumstances, now = moment.circumstances, moment.now
    for end in terms.ends:
        if now >= end.at:
            yield end.rule, end.arms
    if terms.conditions:
        yield from _untrue(terms, moment)
    for hold in terms.holds:
        opened = circumstances.events.get(hold.opened_by)
        closed = circumstances.events.get(hold.closed_by)
        if opened is not None and (closed is None or opened > closed):
            yield hold.rule, hold.arms
    for need in terms.agreements:
        if not circumstances.agreed(need.purpose, need.channel):
            yield need.rule, need.arms
    for rest in terms.after:
        happened = circumstances.events.get(rest.event)
        if happened is not None and happened > now - rest.lasts:
            yield rest.rule, rest.arms
    # Where nothing was used nothing is full.
    if terms.counted and (circumstances.uses or circumstances.uses is UNREADABLE):
        yield from _full(terms, circumstances, now)
    if terms.spends:
        yield from _spent(terms, circumstances, now)


def _untrue(terms: Terms, moment: Moment) -> Iterator[tuple[str, Arms]]:
    conditions = terms.conditions
    answers: Sequence[bool]
    try:
        answers = terms.answers(
            moment.values, tags=moment.circumstances.tags, audiences=moment.audiences, now=moment.now
        )
    except RuleValueError:
        # A value of another type than rules are read for: nothing can be said to be true of it.
        answers = [False] * len(conditions)
    given = iter(answers)
    for one in conditions:
        if one.parsed is None or not next(given):
            yield one.rule, one.arms


def _full(terms: Terms, circumstances: Circumstances, now: datetime) -> Iterator[tuple[str, Arms]]:
    uses, zone = circumstances.uses, ZoneInfo(circumstances.zone)
    for one in terms.counted if terms.arms else ():
        if one.stops == frozenset() or (one.of_account and circumstances.account is None):
            continue
        if uses is UNREADABLE:
            yield COUNTERS_UNREACHABLE, one.stops
            continue
        if one.part is None:
            if one.rule not in uses:
                continue
            limit = _limit(one, terms.arms[0], circumstances, zone, now)
            if used(limit, uses, now) >= one.limit:
                yield one.rule, one.stops
            continue
        arms = [arm for arm in terms.arms if one.stops is ALL or arm.id in one.stops]
        limits = {arm.id: _limit(one, arm, circumstances, zone, now) for arm in arms}
        full = frozenset(name for name, limit in limits.items() if used(limit, uses, now) >= one.limit)
        if full:
            yield one.rule, full


def _spent(terms: Terms, circumstances: Circumstances, now: datetime) -> Iterator[tuple[str, Arms]]:
    for one in terms.spends:
        taken = circumstances.levels.get(one.budget(now).key, 0)
        if circumstances.uses is UNREADABLE:
            stopped = frozenset(arm.id for arm in terms.arms if one.takes(arm))
        else:
            stopped = frozenset(arm.id for arm in terms.arms if one.is_full(arm, taken))
        if stopped:
            yield COUNTERS_UNREACHABLE if circumstances.uses is UNREADABLE else one.rule, stopped


def lifted_by(terms: Terms, circumstances: Circumstances, now: datetime) -> str | None:
    """Return the rule of a quota whose minimum is not reached yet, None where there is none."""
    if circumstances.uses is UNREADABLE:
        return None
    for one in terms.spends:
        if circumstances.levels.get(one.budget(now).key, 0) < one.minimum:
            return one.rule
    return None


def _limit(one: Counted, arm: Arm, circumstances: Circumstances, zone: ZoneInfo, now: datetime) -> UseLimit:
    subject = of_account(circumstances.account or "") if one.of_account else ""
    window = length(one.window, zone, now)
    return UseLimit(one.rule, one.limit_for(arm), window, one.key(arm), subject, one.takes(arm))
