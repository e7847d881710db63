"""The job `reward`: opens a window for every decision and credits those that closed, each outcome once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from audiences.identity.people import EveryoneAlone, People
from audiences.liveness.repository import silent_since
from learning import outcome_repository, repository
from learning.judging import Judging, body_of
from learning.late_outcomes import LateOutcomes, refusal
from learning.repository import CORRECTED, REWARD_LABEL, Held, Window
from learning.rewards import Mature, Reward
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


class Judged(msgspec.Struct, frozen=True):
    """How many decisions got their first reward, how many another one, how many outcomes were refused."""

    matured: int = 0
    corrected: int = 0
    refused: int = 0

    def __add__(self, other: Judged) -> Judged:
        return Judged(
            self.matured + other.matured, self.corrected + other.corrected, self.refused + other.refused
        )


class RewardService:
    """Turns decisions into rewards once their attribution windows have closed."""

    def __init__(self, database: Database, people: People | None = None) -> None:
        """`people` says who is one person: outcomes of any of their profiles count for all of them."""
        self._database = database
        self._judging = Judging(database, people or EveryoneAlone())
        self._late = LateOutcomes(database, self._judging)
        self._decoder = msgspec.json.Decoder(Decision)
        self._opening = Pace(_PIECE)
        self._crediting = Pace(_PIECE)

    def mature(self, now: datetime) -> Judged:
        """Record the reward of every decision whose window closed at or before `now`.

        May be stopped anywhere and called again: a decision is credited once. An outcome that is recorded
        after its decision matured has it judged again; what that changes is the reward's next version.
        While the feed of a goal's event is silent, windows that closed after it fell silent wait until it has
        caught up (`audiences.liveness`).

        Returns:
            How many rewards were recorded.
        """
        while self._open_windows():
            pass
        total = Judged()
        while (refused := self._late.look(now)) is not None:
            total += Judged(refused=refused)
        while True:
            with self._database.read() as connection:
                held = self._held(connection, now)
                due = repository.due_windows(connection, now, limit=_PIECE, held=held)
            if not due:
                return total
            total += self._credit(due, now)
            reached("reward.recorded")

    def recompute(self, playbook: str, version: int) -> int:
        """Have every decision of a playbook judged by the goal of one of its versions, from now on.

        `mature` does so, as soon as the goal's window has closed for each. May be called again.

        Returns:
            How many decisions there are.

        Raises:
            UnknownPlan: there is no such version.
        """
        window = self._judging.goal(playbook, version).window
        while self._open_windows():
            pass
        total, after = 0, ""
        while True:
            found = self._database.write(
                lambda c, after=after: outcome_repository.judge_by(  # type: ignore[misc]
                    c, playbook, version, window, after=after, limit=_PIECE
                ),
                rows=_PIECE,
            )
            if not found:
                return total
            total, after = total + len(found), found[-1]

    def _held(self, connection: Connection, now: datetime) -> list[Held]:
        """Return which windows wait for a feed that is silent."""
        silent = silent_since(connection)
        if not silent:
            return []
        due = repository.due_plans(connection, now)
        events = {
            (playbook, version): self._judging.goal(playbook, version).event for playbook, version in due
        }
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
        if decision.fallback is not None:
            # What it showed was nobody's choice: no outcome is credited to it, or kept from a decision that
            # a policy made.
            decision = msgspec.structs.replace(decision, arms=[DO_NOTHING], playbook=None)
        if decision.playbook is not None and decision.playbook_version is not None:
            closes_at += self._judging.goal(decision.playbook, decision.playbook_version).window
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

    def _credit(self, due: Sequence[Window], now: datetime) -> Judged:
        same = self._settled(due)
        settled = {window.decision_id for window in same}
        due = [window for window in due if window.decision_id not in settled]
        judged = [(window, one) for window, one in self._judging.judged(due, now) if isinstance(one, Mature)]
        again = [window.decision_id for window, _ in judged if window.rewarded]
        with self._database.read() as connection:
            before = repository.rewards_of(connection, again)
        rewards = []
        for window, mature in judged:
            body = body_of(window, mature)
            if _alike(before.get(window.decision_id), body):
                same.append(window)
            else:
                rewards.append(_fact(window, body))
        refused = [
            refusal(one.outcome, window.decision_id, one.why)
            for window, mature in judged
            for one in mature.refused
        ]
        self._crediting.write(self._database, same, repository.confirm, forced=False)
        new = self._crediting.write(
            self._database,
            refused,
            lambda c, some: outcome_repository.refuse(c, some, now),
            forced=False,
        )
        first = corrected = 0
        for some in self._crediting.turns(
            self._database, rewards, lambda c, some: repository.record_rewards(c, some, now), forced=False
        ):
            fresh = some[1]
            first += sum(":" not in one for one in fresh)
            corrected += sum(":" in one for one in fresh)
        return Judged(first, corrected, new)

    def _settled(self, due: Sequence[Window]) -> list[Window]:
        """Return the windows that keep their reward: what earned it is not all there any more."""
        again = [window for window in due if window.rewarded]
        if not again:
            return []
        with self._database.read() as connection:
            gone = outcome_repository.gone_until(connection)
        return [window for window in again if gone and self._is_gone(window, gone)]

    def _is_gone(self, window: Window, gone: Mapping[str, datetime]) -> bool:
        goal = self._judging.decided(window).goal
        names = () if goal is None else (counting.name for counting in goal.countings)
        return any(name in gone and window.decided_at < gone[name] for name in names)


def _open(connection: Connection, opened: Sequence[tuple[int, int, Window | None]]) -> int:
    """Open windows that follow each other: each with the position before it and its own."""
    (after, _, _), (_, last, _) = opened[0], opened[-1]
    windows = [window for _, _, window in opened if window is not None]
    return repository.open_windows(connection, after, windows, last)


def _alike(before: Reward | None, now: Reward) -> bool:
    return before is not None and msgspec.structs.replace(now, version=before.version) == before


def _fact(window: Window, body: Reward) -> NewFact:
    """Return the first reward under the decision's id, a later version under that and its number."""
    if body.version == 1:
        return NewFact(Kind.REWARD, body.decision_id, REWARD_LABEL, window.user_id, window.closes_at, body)
    id_ = f"{body.decision_id}:{body.version}"
    return NewFact(Kind.REWARD, id_, CORRECTED, window.user_id, window.closes_at, body)
