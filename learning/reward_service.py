"""The job `reward`: opens a window for every decision and credits those that closed, exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from audiences.identity.people import EveryoneAlone, People
from audiences.liveness.repository import silent_since
from learning import repository
from learning.plans import Plans
from learning.repository import REWARD_LABEL, Held, Window
from learning.rewards import Decided, Mature, Outcome, Reward, credit, reward
from playbooks.decision import Decision
from playbooks.models import DO_NOTHING
from storage.engine import Database
from storage.erasure import is_pseudonym
from storage.faultpoints import reached
from storage.ledger import Fact, Kind, NewFact
from storage.pace import Pace
from storage.writer import TURN_ROWS

# A piece writes a reward and marks a window for each decision.
_PIECE = TURN_ROWS // 2


class RewardService:
    """Turns decisions into rewards once their attribution windows have closed."""

    def __init__(self, database: Database, people: People | None = None) -> None:
        """`people` says who is one person: outcomes of any of their profiles count for all of them."""
        self._database = database
        self._people = people or EveryoneAlone()
        self._plans = Plans(database)
        self._decoder = msgspec.json.Decoder(Decision)
        self._opening = Pace(_PIECE)
        self._crediting = Pace(_PIECE)

    def mature(self, now: datetime) -> int:
        """Record the reward of every decision whose window closed at or before `now`.

        May be stopped anywhere and called again: a decision is credited once. Events that are recorded
        after their decision matured no longer count; so while the feed of a goal's event is silent, windows
        that closed after it fell silent wait until it has caught up (`audiences.liveness`).

        Returns:
            How many rewards were recorded.
        """
        while self._open_windows():
            pass
        total = 0
        while True:
            with self._database.read() as connection:
                held = self._held(connection, now)
                due = repository.due_windows(connection, now, limit=_PIECE, held=held)
            if not due:
                return total
            total += self._credit(due, now)
            reached("reward.recorded")

    def _held(self, connection: Connection, now: datetime) -> list[Held]:
        """Return which windows wait for a feed that is silent."""
        silent = silent_since(connection)
        if not silent:
            return []
        due = repository.due_plans(connection, now)
        events = {(playbook, version): self._plans.goal(playbook, version).event for playbook, version in due}
        return [Held(*plan, silent[event]) for plan, event in events.items() if event in silent]

    def _open_windows(self) -> bool:
        with self._database.read() as connection:
            after = repository.windows_position(connection)
            found = repository.new_decisions(connection, limit=TURN_ROWS)
        if not found:
            return False
        windows = [self._window(fact) for fact in found]
        positions = [after, *(fact.seq for fact in found)]
        opened = list(zip(positions, positions[1:], windows, strict=False))
        self._opening.write(self._database, opened, _open, forced=False)
        return True

    def _window(self, fact: Fact) -> Window | None:
        """Return the window that a decision opens; None where nothing is to be credited to it.

        That is one for a test user, and the tombstone that erasure leaves in the place of a record.
        """
        if is_pseudonym(fact.user_id or ""):
            return None
        decision: Decision = self._decoder.decode(fact.body)
        if decision.test:
            return None
        closes_at = decision.decided_at
        if decision.playbook is not None and decision.playbook_version is not None:
            closes_at += self._plans.goal(decision.playbook, decision.playbook_version).window
        return Window(
            decision_id=decision.decision_id,
            user_id=decision.user_id,
            placement=decision.placement,
            decided_at=decision.decided_at,
            closes_at=closes_at,
            policy=decision.policy,
            playbook=decision.playbook,
            playbook_version=decision.playbook_version,
            arm=decision.arm,
            acts=decision.refused_by is None,
            matured=False,
        )

    def _credit(self, due: Sequence[Window], now: datetime) -> int:
        acting = [window for window in due if not window.does_nothing]
        credited = {}
        if acting:
            users = {member for window in acting for member in self._people.members(window.user_id)}
            start = min(window.decided_at for window in acting)
            end = max(window.closes_at for window in acting)
            with self._database.read() as connection:
                rivals = repository.windows_of_users(connection, users, start, end)
                decided = [self._decided(window) for window in rivals if not window.does_nothing]
                events = {one.goal.event for one in decided if one.goal is not None}
                outcomes = repository.outcomes_of_users(connection, users, events, start, end)
                credited = credit(decided, map(self._of_person, outcomes))
        rewards = []
        for window in due:
            decision = self._decided(window)
            mature = reward(decision.goal, decision, credited.get(window.decision_id, ()), now)
            if isinstance(mature, Mature):
                rewards.append(_fact(window, mature))
        return self._crediting.write(
            self._database, rewards, lambda c, some: repository.record_rewards(c, some, now), forced=False
        )

    def _decided(self, window: Window) -> Decided:
        goal = arm = None
        if window.arm != DO_NOTHING and window.playbook and window.playbook_version is not None:
            goal = self._plans.goal(window.playbook, window.playbook_version)
            arm = self._plans.arm(window.playbook, window.playbook_version, window.arm)
        user = self._people.canonical(window.user_id)
        return Decided(window.decision_id, user, window.decided_at, goal, arm)

    def _of_person(self, outcome: Outcome) -> Outcome:
        return replace(outcome, user_id=self._people.canonical(outcome.user_id))


def _open(connection: Connection, opened: Sequence[tuple[int, int, Window | None]]) -> int:
    """Open windows that follow each other: each with the position before it and its own."""
    (after, _, _), (_, last, _) = opened[0], opened[-1]
    windows = [window for _, _, window in opened if window is not None]
    return repository.open_windows(connection, after, windows, last)


def _fact(window: Window, mature: Mature) -> NewFact:
    body = Reward(
        decision_id=window.decision_id,
        placement=window.placement,
        policy=window.policy,
        playbook=window.playbook,
        arm=window.arm,
        acts=window.acts,
        decided_at=window.decided_at,
        value=mature.value,
        outcome=mature.outcome,
    )
    return NewFact(Kind.REWARD, window.decision_id, REWARD_LABEL, window.user_id, window.closes_at, body)
