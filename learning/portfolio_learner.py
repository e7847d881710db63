"""A portfolio: several learners learn from the same rows; the model of the one in charge is served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from learning.errors import BrokenWeights, LearnerRefused
from learning.learner import Learner, Learnt, Task
from learning.models import ValueModel, model_from_bytes
from learning.models.value_model import decode
from learning.rows import FloatArray, Rows
from learning.succession import Standing, Succeeded, Succession

# What members expect of so many rows they say before they learn them; fewer cost more, as VW's state is read
# and written each time.
_PIECE = 500


class _Member(msgspec.Struct, frozen=True):
    """What one member goes on from, and what it predicts by: empty where the state is that model."""

    state: bytes
    model: bytes

    @classmethod
    def of(cls, learnt: Learnt) -> _Member:
        model = learnt.model.to_bytes()
        return cls(learnt.state, b"" if model == learnt.state else model)

    def predictor(self) -> ValueModel:
        return model_from_bytes(self.model or self.state)


class _State(msgspec.Struct, frozen=True):
    standing: Standing
    members: dict[str, _Member]


class PortfolioLearner:
    """The first member is in charge until another has shown to predict better (`Succession`).

    Nothing looks ahead: what a member expects of a row comes from rows before it, and whoever comes to be in
    charge is served from the next version on.
    """

    def __init__(
        self, task: Task, members: Mapping[str, Learner], priors: Mapping[str, ValueModel], error: float
    ) -> None:
        """Take over learners by name.

        Args:
            priors: each member's model before it learnt anything.
            error: the chance in (0, 1) that a change of who is in charge rests on luck alone.
        """
        self._task = task
        self.members = dict(members)
        self._priors = dict(priors)
        self._error = error

    def fold(self, state: bytes | None, rows: Rows) -> Learnt:
        rows.check(len(self._task.names), self._task.low, self._task.high)
        before = None if state is None else self._read(state)
        succession = Succession(list(self.members), self._error, None if before is None else before.standing)
        models = self._priors if before is None else {n: m.predictor() for n, m in before.members.items()}
        states = {name: None if before is None else before.members[name].state for name in self.members}
        learnt: dict[str, Learnt] = {}
        changes: list[Succeeded] = []
        for start in range(0, max(1, len(rows)), _PIECE):
            piece = rows.part(slice(start, start + _PIECE))
            expected = np.column_stack([models[name].predict(piece.matrix) for name in self.members])
            for name, member in self.members.items():
                learnt[name] = member.fold(states[name], piece)
            changes += succession.take(self._shares(expected), self._shares(piece.targets))
            models = {name: one.model for name, one in learnt.items()}
            states = {name: one.state for name, one in learnt.items()}
        after = _State(succession.standing, {name: _Member.of(one) for name, one in learnt.items()})
        served = learnt[succession.in_charge].model
        return Learnt(served, msgspec.msgpack.encode(after), succession.in_charge, tuple(changes))

    def merge(self, base: bytes | None, states: Sequence[bytes]) -> Learnt:
        raise LearnerRefused(
            "the members of a portfolio are compared reward by reward, which shards can't; take one learner"
        )

    def close(self) -> None:
        for member in self.members.values():
            member.close()

    def _read(self, state: bytes) -> _State:
        found = decode(state, _State)
        if list(found.members) != list(self.members):
            raise BrokenWeights("the state was learnt by other members than the policy has")
        return found

    def _shares(self, values: FloatArray) -> FloatArray:
        shares: FloatArray = np.clip((values - self._task.low) / (self._task.high - self._task.low), 0.0, 1.0)
        return shares
