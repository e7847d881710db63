"""A rehearsal as text."""

from __future__ import annotations

from collections.abc import Iterator

from playbooks.constraints.counting import MOST_COUNTED
from playbooks.money import shown
from playbooks.rehearsal.expecting import Expected
from playbooks.rehearsal.report import BudgetUse, Example, Rehearsed

_WIDTH = 28
_ARMS = 20


def told(one: Rehearsed) -> Iterator[str]:
    """Yield a rehearsal as lines."""
    version = "draft" if one.version is None else f"{one.playbook}@{one.version}, {one.state}"
    yield f"{one.playbook} ({version}) at {one.placement}, {one.at:%Y-%m-%d %H:%M} UTC: nothing was sent"
    yield f"when: {one.when.said}"
    for moment in one.when.next:
        yield f"  next {moment:%Y-%m-%d %H:%M} UTC"
    audience = one.audience
    of = f" (as of {audience.as_of:%Y-%m-%d %H:%M} UTC)" if audience.as_of else " (never evaluated)"
    yield _row(f"audience {audience.id or 'everybody'}", f"{audience.users:,}{of}")
    for stop in one.stopped:
        if stop.users:
            yield _row(f"  stopped by {stop.rule}", f"{stop.users:,}")
        if stop.partly:
            yield _row(f"  {stop.rule}", f"{stop.partly:,} lose some variants")
    if one.elsewhere:
        yield _row("  other version serves", f"{one.elsewhere:,}")
    yield _row("left", f"{one.left:,}")
    yield _row("contacted", f"{_expected(one.contacted)}, by {one.policy} for {one.sampled:,} of them")
    for name, number in (
        ("  another playbook", one.others),
        ("  nothing", one.nothing),
        ("  no features known", one.unknown),
    ):
        if number.high:
            yield _row(name, _expected(number))
    yield from _arms(one)
    for cost in one.costs:
        low, high = (shown(round(value), cost.currency) for value in (cost.expected.low, cost.expected.high))
        yield _row(
            "cost expected", f"{shown(round(cost.expected.expected), cost.currency)} ({low} to {high})"
        )
        yield _row("cost at most", shown(cost.most, cost.currency))
        yield _row("liability at worst", shown(cost.liability, cost.currency))
    for budget in one.budgets:
        yield from _budget(budget)
    for example in one.examples:
        yield from _example(example)


def _arms(one: Rehearsed) -> Iterator[str]:
    if not one.left:
        return
    for kind, shares in (("channel", one.channels), ("content", one.contents)):
        for share in shares:
            yield _row(f"  {kind} {share.name}", _expected(share.gets))
    for arm in sorted(one.arms, key=lambda arm: -arm.gets.expected)[:_ARMS]:
        worth = f", {shown(arm.value, arm.currency)} each" if arm.currency else ""
        yield _row(f"  variant {arm.arm.partition('/')[2]}", f"{_expected(arm.gets)}{worth}")
    if len(one.arms) > _ARMS:
        yield f"  … and {len(one.arms) - _ARMS} more variants; --json has them all"


def _budget(one: BudgetUse) -> Iterator[str]:
    def amount(number: float) -> str:
        return shown(round(number), one.currency) if one.currency else f"{number:,.0f}"

    if one.limit >= MOST_COUNTED - 1:
        # A quota that has only a minimum.
        yield _row(one.rule, f"{amount(one.taken)} taken, about {amount(one.expected.expected)} more")
        return
    expected = amount(one.expected.expected)
    said = f"{amount(one.taken)} of {amount(one.limit)} taken, about {expected} more"
    if one.limit == 0:
        # A stock of codes, in which each one that was added makes room.
        said = f"{amount(-one.taken)} left, about {expected} of them taken"
    late = f"; runs out: about {one.lost:,.0f} users come too late" if one.lost else ""
    yield _row(f"{one.rule} ({one.period})", said + late)


def _example(one: Example) -> Iterator[str]:
    if one.arm is None:
        said = f"nothing, {one.why}" + (f": {', '.join(one.stopped_by)}" if one.stopped_by else "")
        yield f"for example {one.user_id}: {said}"
        return
    odds = "" if one.propensity is None else f" (probability {one.propensity:.3g})"
    yield f"for example {one.user_id}: {one.arm}{odds}" + (f", {one.why}" if one.why else "")
    if one.problem:
        yield f"  its content can't be filled: {one.problem}"
    if one.subject is not None:
        yield f"  {one.subject}"
        yield from (f"  | {line}" for line in (one.body or "").splitlines())


def _row(name: str, value: str) -> str:
    return f"{name:<{_WIDTH}} {value}"


def _expected(one: Expected) -> str:
    return f"about {one.expected:,.0f} ({one.low:,.0f} to {one.high:,.0f})"
