"""Asks matching about a user whether anything stops a playbook, and which arms are left to compete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from playbooks.constraints.circumstances import Circumstances
from playbooks.library import Library, PublishedPlaybook
from playbooks.matching import Request, Snapshot, decide
from playbooks.models import Arm
from playbooks.policy import FloatArray, Stakes


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


class Indifferent:
    """A policy that prefers nothing: with it, `decide` says who is eligible, and no more."""

    version = "indifferent"
    inputs = frozenset[str]()

    def score(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray:
        return np.zeros(len(arms))

    def deviations(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray | None:
        return None

    def explore(self, stakes: Stakes) -> FloatArray:
        return np.full(len(stakes.arms), 1 / len(stakes.arms))


class Asker:
    """Asks `playbooks.matching.decide` at one placement and moment."""

    def __init__(self, snapshot: Snapshot, placement: str, now: datetime) -> None:
        """Ask about what a snapshot serves, whatever its policy is."""
        self._snapshot = replace(snapshot, policy=Indifferent(), _contests={})
        self._placement, self._now = placement, now

    def ask(self, member: Member) -> Answer:
        """Return what competes for a user."""
        decision = decide(
            self._snapshot,
            Request("", member.user_id, self._placement, ""),
            features=member.features,
            audiences=member.audiences,
            circumstances=member.circumstances,
            now=self._now,
        )
        return Answer(frozenset(decision.arms[:-1]), decision.suppressed)


def rivals(playbook: PublishedPlaybook, library: Library) -> Library:
    """Return the part of a library without which nobody can say whether a playbook is stopped.

    That is itself with its other versions, what goes before it by its priority or for the minimum of a
    quota, and what shares an exclusive group with any of these.
    """
    document = playbook.document
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
            return replace(library, playbooks=tuple(more))
        kept = more
