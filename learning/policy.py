"""A learnt policy: value model and exploration of one version, behind the port that matching asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learning.exploration import narrowed
from learning.features import FeatureSet
from learning.models import ValueModel
from learning.spec import PolicySpec
from playbooks.decision import Decision
from playbooks.models import Arm
from playbooks.policy import Stakes, StakesOfMany
from playbooks.stakes import stakes_of

FloatArray = NDArray[np.float64]

# Numbers of the matrix of many users: 16 MB, whatever the arms and columns are.
_NUMBERS = 2_000_000


class LearnedPolicy:
    """Implements `playbooks.policy.PolicyForMany`; pure and safe to ask from many threads."""

    def __init__(
        self,
        version: str,
        spec: PolicySpec,
        features: FeatureSet,
        model: ValueModel,
        trained: int,
        others: frozenset[str] = frozenset(),
    ) -> None:
        """`others` are features that are recorded for policies which do not decide."""
        self._version = version
        self._spec = spec
        self._features = features
        self._model = model
        self._trained = trained
        self._recorded = features.inputs | others

    @property
    def version(self) -> str:
        return self._version

    @property
    def inputs(self) -> frozenset[str]:
        """Names of the features that a decision has to record: those it reads, and those others will."""
        return self._recorded

    @property
    def reads(self) -> frozenset[str]:
        """Names of the user's features it reads itself."""
        return self._features.inputs

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns its model weighs."""
        return self._features.names

    @property
    def floor(self) -> float:
        """The total mass that exploration spreads evenly over all arms."""
        return self._spec.exploration.mass(self._trained)

    def matrix(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray:
        """Return the columns for each arm, shape (len(arms), len(columns))."""
        return self._features.matrix(features, arms)

    def filled(self, values: Mapping[str, float | None]) -> dict[str, Any]:
        """Return made-up features: arrays of one number throughout (see `FeatureSet.filled`)."""
        return self._features.filled(values)

    def score(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray:
        if not arms:
            return np.zeros(0)
        return self._model.predict(self._features.matrix(features, arms))

    def deviations(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray | None:
        if not self._spec.exploration.uncertain:
            return None
        if not arms:
            return np.zeros(0)
        return self._model.deviation(self._features.matrix(features, arms))

    def explore(self, stakes: Stakes) -> FloatArray:
        vector = self._spec.exploration.vector(stakes, self._trained)
        return narrowed(vector, stakes.values, stakes.narrowed, self.floor) if stakes.narrowed else vector

    def score_many(
        self, features: Mapping[str, Sequence[Any]], users: int, arms: Sequence[Arm]
    ) -> FloatArray:
        if not arms:
            return np.zeros((users, 0))
        shares = [self._model.predict(share) for share in self._shares(features, users, arms)]
        return shares[0] if len(shares) == 1 else np.concatenate(shares)

    def deviations_many(
        self, features: Mapping[str, Sequence[Any]], users: int, arms: Sequence[Arm]
    ) -> FloatArray | None:
        if not self._spec.exploration.uncertain:
            return None
        if not arms:
            return np.zeros((users, 0))
        found = []
        for share in self._shares(features, users, arms):
            deviations = self._model.deviation(share.reshape(-1, share.shape[-1]))
            if deviations is None:
                return None
            found.append(deviations)
        return np.concatenate(found).reshape(users, len(arms))

    def explore_many(self, stakes: StakesOfMany) -> FloatArray:
        return self._spec.exploration.vectors(stakes, self._trained)

    def _shares(
        self, features: Mapping[str, Sequence[Any]], users: int, arms: Sequence[Arm]
    ) -> Iterator[FloatArray]:
        """Yield matrices of as many users at a time as keeps them small, shape (users, arms, columns)."""
        together = max(1, _NUMBERS // (len(arms) * max(1, len(self._features.names))))
        if users <= together:
            yield self._features.matrices(features, users, arms)
            return
        for start in range(0, users, together):
            some = {name: values[start : start + together] for name, values in features.items()}
            yield self._features.matrices(some, min(together, users - start), arms)

    def vector_at(self, decision: Decision, arms: Sequence[Arm]) -> FloatArray:
        """Return the vector this policy would have made for a recorded decision, "do nothing" last.

        Args:
            arms: those of the decision, in its order, without "do nothing".
        """
        scores, deviations = self.score(decision.features, arms), self.deviations(decision.features, arms)
        return self.explore(stakes_of(decision, scores, deviations))

    def explain(self, features: Mapping[str, Any], arm: Arm) -> dict[str, float]:
        """Return what each column adds to one arm's score, the intercept under ""."""
        return self._model.explain(self._features.matrix(features, [arm])[0])
