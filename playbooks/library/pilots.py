"""Pilots as they run: how each stands, and what follows from it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec

from playbooks.errors import UnknownPlaybook
from playbooks.goal_documents import Goal
from playbooks.library.lifecycle import State
from playbooks.library.repository import Standing
from playbooks.library.service import LibraryService
from playbooks.library.verdict import Earned, Outcome, Verdict, judge

# Who moves a pilot that its test has settled.
BY = "pilot"

_MOVES = {Outcome.GRADUATES: "publish", Outcome.ENDS: "retire", Outcome.TOO_GOOD: "pause"}


class Earnings(Protocol):
    """Says what the decisions for a version earned."""

    def of(self, playbook: str, version: int, goal: Goal, since: datetime) -> Earned:
        """Return what decisions from `since` on earned whose windows have closed."""
        ...


class Settled(msgspec.Struct, frozen=True):
    """What a pilot came to: the version, where it stands now, and its verdict."""

    version: str
    state: State
    verdict: Verdict


class Pilots:
    """The pilots of a library."""

    def __init__(self, library: LibraryService, earnings: Earnings) -> None:
        self._library, self._earnings = library, earnings

    def report(self, playbook: str) -> tuple[Standing, Verdict]:
        """Return how the pilot of a playbook stands, or what the last one came to.

        Raises:
            UnknownPlaybook: it never had one.
        """
        for one in self._library.versions(playbook):
            if one.state is State.PILOT and (verdict := self._verdict(one)) is not None:
                return one, verdict
            if one.report is not None:
                return one, msgspec.json.decode(one.report, type=Verdict)
        raise UnknownPlaybook(
            f"no version of the playbook {playbook!r} runs as a pilot, and none did; give it a `pilot`"
        )

    def settle(self) -> list[Settled]:
        """Move every pilot whose test has come to an end: live, retired, or paused for a person to look."""
        settled = []
        for one in self._library.in_state(State.PILOT):
            verdict = self._verdict(one)
            if verdict is None or verdict.outcome is Outcome.RUNNING:
                continue
            moved = self._library.settle(one, _MOVES[verdict.outcome], BY, verdict.why, verdict)
            if moved is not None:
                settled.append(Settled(moved.name, moved.state, verdict))
        return settled

    def _verdict(self, one: Standing) -> Verdict | None:
        _, body = self._library.version(one.playbook, one.version)
        pilot = body.playbook.pilot
        if pilot is None or one.served_from is None:
            return None
        goal = body.playbook.goal
        return judge(pilot, self._earnings.of(one.playbook, one.version, goal, one.served_from))
