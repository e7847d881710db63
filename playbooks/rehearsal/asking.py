"""Asks matching about a user whether anything stops a playbook, and which arms are left to compete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from playbooks.constraints.circumstances import Circumstances
from playbooks.library import Library, PublishedPlaybook
from playbooks.matching import Snapshot


class Member(NamedTuple):
    """A user as matching sees one; `missing`: no features are known, so that no decision asks matching."""

    user_id: str
    audiences: Set[str] = frozenset()
    features: Mapping[str, Any] = {}
    circumstances: Circumstances = Circumstances()
    missing: bool = False


class Answer(NamedTuple):
    """What matching says of a user: ids of the arms that compete, and what each rule stopped."""

    arms: frozenset[str]
    suppressed: Mapping[str, Sequence[str]]


class Asker:
    """Asks `playbooks.eligible` as a decision does, at one placement and moment."""

    def __init__(self, snapshot: Snapshot, placement: str, now: datetime) -> None:
        self._snapshot, self._placement, self._now = snapshot, placement, now

    def ask(self, member: Member) -> Answer:
        """Return what competes for a user."""
        found = self._snapshot.eligible(
            member.user_id,
            self._placement,
            features=member.features,
            audiences=member.audiences,
            circumstances=member.circumstances,
            now=self._now,
        )
        arms = (
            arm.id
            for side in found.sides
            for arm in side.playbook.arms
            if side.arms is None or arm.id in side.arms
        )
        return Answer(frozenset(arms), found.suppressed)


def begun_by(trigger: str, library: Library) -> Library:
    """Return the playbooks among which a decision chooses that a trigger begins."""
    return replace(
        library, playbooks=tuple(one for one in library.playbooks if one.document.trigger == trigger)
    )


def rivals(playbook: PublishedPlaybook, snapshot: Snapshot) -> Snapshot:
    """Return a snapshot of what is needed to say whether a playbook is stopped, and by which rule.

    That is itself with its other versions, what goes before it by its priority or for the minimum of a
    quota, and what shares an exclusive group with any of these. Guards go on looking at all that is served.
    """
    library, document = snapshot.library, playbook.document
    here = [one for one in library.playbooks if one.document.placement == document.placement]
    groups = {one.key: set(library.rules.terms(one).groups) for one in here}
    kept = [
        one
        for one in here
        if one.id == playbook.id
        or one.document.priority > document.priority
        or any(spending.minimum for spending in library.rules.terms(one).spends)
    ]
    while True:
        shared = set[str]().union(*(groups[one.key] for one in kept))
        more = [one for one in here if one in kept or not shared.isdisjoint(groups[one.key])]
        if len(more) == len(kept):
            break
        kept = more
    # What the guards found is kept with the part.
    snapshot.stops_for(document.placement, frozenset())
    return replace(snapshot, library=replace(library, playbooks=tuple(more)))
