"""What may compete for a user now: playbooks and arms that nothing stops, and what stops the others; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from playbooks.constraints.allowing import Moment, allowed, counted_uses, lifted_by
from playbooks.constraints.binding import Terms
from playbooks.constraints.circumstances import Circumstances, Needs, Recorded
from playbooks.constraints.fatigue import fatigue_of
from playbooks.constraints.scoping import ALL, Arms
from playbooks.controls.models import NONE, Controls, rule_of
from playbooks.draws import share_of
from playbooks.guards import Stops
from playbooks.holdouts import competing
from playbooks.library import Library, PublishedPlaybook
from playbooks.library.trials import pilot_rule
from playbooks.lineup import Lineup, Side
from playbooks.models import Playbook
from playbooks.policy import FloatArray

# Nothing is said of what money costs.
_FREE: Mapping[str, float] = MappingProxyType({})

# Separates the draw of a group from other draws for the user.
_OF_GROUP = b"group"

# Significant digits of array features in the record.
_DIGITS = 7


@dataclass
class Eligible:
    """What may compete, what each rule stopped (playbooks, or arms), and what was asked to know it.

    `holdouts` are the rules among these that held the user out; `terms` are those that were looked at.
    """

    sides: list[Side] = field(default_factory=list)
    suppressed: dict[str, list[str]] = field(default_factory=dict)
    holdouts: list[str] = field(default_factory=list)
    features: dict[str, Any] = field(default_factory=dict)
    uses: dict[str, int] = field(default_factory=dict)
    fatigue: dict[str, float] = field(default_factory=dict)
    recorded: Recorded = field(default_factory=Recorded)
    terms: Sequence[Terms] = ()

    def stop(self, rule: str, playbook: PublishedPlaybook, arms: Arms = ALL) -> None:
        """Note what a rule stopped."""
        self.suppressed.setdefault(rule, []).extend([playbook.id] if arms is ALL else sorted(arms))


def needs_at(library: Library, placement: str, audiences: Set[str], now: datetime) -> Needs:
    """Return what has to be known of a user in these audiences before a decision at a placement."""
    return library.lineup_at(placement, audiences).needs_at(now)


def eligible(
    library: Library,
    user_id: str,
    placement: str,
    *,
    seed: str,
    held_out: Callable[[Playbook], str | None],
    features: Mapping[str, Any],
    audiences: Set[str],
    circumstances: Circumstances,
    now: datetime,
    rates: Mapping[str, float] = _FREE,
    controls: Controls = NONE,
    stops: Stops | None = None,
) -> Eligible:
    """Return the playbooks and arms that compete for a user.

    Args:
        controls: what operators have stopped.
        stops: by which guard an arm is not for this user.
        rates: what a minor unit of a currency takes from a value, in units of reward.
        held_out: by which rule the user is held out from a playbook, None where they are not.
    """
    found = Eligible()
    lineup = library.lineup_at(placement, audiences)
    if controls or not lineup.plain:
        lineup = library.lineup_of(list(_taking_part(lineup.playbooks, user_id, audiences, found, controls)))
    found.features = {name: recorded(features.get(name)) for name in lineup.names}
    moment = Moment(now, placement, found.features, audiences, circumstances)
    for side, under in zip(lineup.sides, lineup.terms, strict=True):
        left = allowed(under, moment)
        for rule, arms in left.stopped.items():
            found.stop(rule, side.playbook, arms)
        arms = left.arms if stops is None else _guarded(found, side.playbook, left.arms, stops)
        if arms is ALL:
            found.sides.append(side)
        elif arms:
            found.sides.append(Side(side.key, arms, side.playbook))
    for side in found.sides if lineup.tiring else ():
        tiring = library.rules.terms(side.playbook).tiring
        found.fatigue |= fatigue_of(tiring, side.playbook.arms, circumstances.uses, rates, now)
    found.terms = lineup.terms
    found.uses = counted_uses(lineup.terms, circumstances, now)
    found.recorded = _recorded(lineup, circumstances)
    lifted: dict[str, str] = {}
    for playbook, under in lineup.promised:
        lifts = lifted_by(under, circumstances, now)
        # Who is held out from it is decided for as though it were not there.
        if lifts is not None and held_out(playbook.document) is None:
            lifted[playbook.key] = lifts
    if lineup.grouped:
        _one_of_each_group(found, library, lifted, seed, user_id)
    _lifted_first(found, lifted)
    _of_highest_priority(found, held_out)
    return found


def _guarded(found: Eligible, playbook: PublishedPlaybook, arms: Arms, stops: Stops) -> Arms:
    """Return the arms that no guard stops, and note the others."""
    if playbook.document.purpose != "promotional":
        return arms
    stopped: dict[str, set[str]] = {}
    for arm in playbook.arms:
        if (arms is ALL or arm.id in arms) and (rule := stops(arm)) is not None:
            stopped.setdefault(rule, set()).add(arm.id)
    if not stopped:
        return arms
    left = {arm.id for arm in playbook.arms} if arms is ALL else set(arms)
    for rule, some in stopped.items():
        found.stop(rule, playbook, frozenset(some))
        left -= some
    return frozenset(left)


def recorded(value: Any) -> Any:
    """Return a feature value as the record keeps it and the policy sees it: arrays as lists (`rounded`)."""
    return rounded(value).tolist() if isinstance(value, np.ndarray) else value


def rounded(values: NDArray[Any]) -> FloatArray:
    """Return numbers with seven significant digits: what a 32-bit float holds, at half the size."""
    exact: FloatArray = values.astype(np.float64)
    # Most are 0: of few of all names something is known.
    told = exact != 0.0
    some = exact[told]
    with np.errstate(over="ignore", invalid="ignore"):
        scale = 10.0 ** (_DIGITS - 1 - np.floor(np.log10(np.abs(some))))
        found = np.rint(some * scale) / scale
    exact[told] = np.where(np.isfinite(found), found, some)
    return exact


def _taking_part(
    playbooks: Iterable[PublishedPlaybook],
    user_id: str,
    audiences: Set[str],
    found: Eligible,
    controls: Controls,
) -> Iterator[PublishedPlaybook]:
    """Yield the version of each playbook that serves the user."""
    for playbook in playbooks:
        control = controls.of_decision(playbook.id, user_id) if controls else None
        if control is not None:
            found.stop(rule_of(control), playbook)
        elif playbook.serves(user_id, audiences):
            yield playbook
        elif playbook.trial is not None and playbook.trial.alone:
            found.stop(pilot_rule(playbook.id), playbook)


def _one_of_each_group(
    found: Eligible, library: Library, lifted: Mapping[str, str], seed: str, user_id: str
) -> None:
    """Of each exclusive group leave the side that goes before the others; equal ones share the users."""
    members: dict[str, list[Side]] = {}
    for side in found.sides:
        for group in library.rules.terms(side.playbook).groups:
            members.setdefault(group, []).append(side)
    for group in sorted(members):
        left = [side for side in members[group] if side in found.sides]
        if len(left) < 2:
            continue
        first = max(
            left,
            key=lambda side: (
                side.key in lifted,
                side.playbook.document.priority,
                place_in_group(seed, user_id, group, side.playbook.id),
            ),
        )
        for side in left:
            if side is not first:
                found.sides.remove(side)
                found.stop(f"group.{group}", side.playbook)


def _lifted_first(found: Eligible, lifted: Mapping[str, str]) -> None:
    """Leave only sides whose quota lifts them, if there is one."""
    rules = [lifted[side.key] for side in found.sides if side.key in lifted]
    if not rules:
        return
    for side in found.sides:
        if side.key not in lifted:
            found.stop(rules[0], side.playbook)
    found.sides = [side for side in found.sides if side.key in lifted]


def place_in_group(seed: str, user_id: str, group: str, playbook: str) -> float:
    """Return where in [0, 1) a playbook lies for a user in a group: of equal ones the highest goes first."""
    return share_of((seed, user_id, group, playbook), _OF_GROUP)


def _of_highest_priority(found: Eligible, held_out: Callable[[Playbook], str | None]) -> None:
    """Leave the sides of the highest priority at which somebody is left who is not held out."""
    left = competing([side.playbook for side in found.sides], held_out)
    kept = {one.key for one in left.playbooks}
    found.sides = [side for side in found.sides if side.key in kept]
    found.holdouts = left.holdouts
    for rule, playbooks in left.suppressed.items():
        found.suppressed.setdefault(rule, []).extend(playbooks)


def _recorded(lineup: Lineup, circumstances: Circumstances) -> Recorded:
    return Recorded(
        zone=circumstances.zone,
        account=circumstances.account,
        tags=sorted(circumstances.tags),
        consents={
            f"{purpose}.{channel.value}": circumstances.agreed(purpose, channel)
            for purpose, channel in lineup.agreements
        },
        levels={name: circumstances.levels[name] for name in sorted(circumstances.levels)},
        events={
            name: circumstances.events[name] for name in sorted(lineup.events & circumstances.events.keys())
        },
    )
