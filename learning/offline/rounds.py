"""Rounds of a log as a policy's specification sees them: context columns are scalars, actions are arms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learning.errors import PolicySpecError
from learning.evaluation.log import Log
from learning.evaluation.logs.rounds import CONTEXT
from learning.features import FeatureSet
from learning.rows import Rows
from learning.spec import PolicySpec
from playbooks.models import Arm

FloatArray = NDArray[np.float64]

# The attribute by which features tell arms apart: `arm.action`.
ACTION = "action"


@dataclass(frozen=True, slots=True, eq=False)
class LoggedRounds:
    """A log, and the numbers that are known of each round by name, shape (n,) each, NaN where one is not.

    `eligible` (n, k) says which actions could be taken; None: all of them.
    """

    log: Log
    scalars: Mapping[str, FloatArray]
    eligible: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.log)

    @property
    def vocabularies(self) -> dict[str, list[str]]:
        """Names by arm attribute, as a feature set takes them."""
        return {ACTION: list(self.log.actions)}

    @property
    def arms(self) -> list[Arm]:
        """The log's actions as arms."""
        return [Arm(f"log/{name}", "log", name, "log", "log", {ACTION: name}) for name in self.log.actions]

    def features(self, row: int) -> dict[str, Any]:
        """Return what a policy reads of one round."""
        return {name: _known(float(values[row])) for name, values in self.scalars.items()}

    def places(self, row: int) -> list[int]:
        """Return which actions could be taken in one round."""
        if self.eligible is None:
            return list(range(len(self.log.actions)))
        return np.flatnonzero(self.eligible[row]).tolist()

    def only(self, rows: NDArray[np.bool_]) -> LoggedRounds:
        """Return the rounds that are marked.

        Raises:
            InvalidRounds: there are none.
        """
        return LoggedRounds(
            self.log.only(rows),
            {name: values[rows] for name, values in self.scalars.items()},
            None if self.eligible is None else self.eligible[rows],
        )

    def rows(self, spec: PolicySpec) -> Rows:
        """Return the chosen actions' columns and what they earned.

        Raises:
            PolicySpecError: the features read what the log has not.
        """
        features, arms = self.feature_set(spec), self.arms
        scalars = {name: list(map(_known, self.scalars[name].tolist())) for name in features.inputs}
        matrix = features.rows(scalars, [arms[action] for action in self.log.action.tolist()])
        return Rows(matrix, self.log.rewards, self.log.propensities, np.ones(len(self)))

    def feature_set(self, spec: PolicySpec) -> FeatureSet:
        """Return the specification's features over this log.

        Raises:
            PolicySpecError: they read what the log has not.
        """
        features = FeatureSet(spec.features, self.vocabularies)
        if missing := sorted(features.inputs - set(self.scalars)):
            known = ", ".join(CONTEXT + one for one in self.scalars) or "no context"
            raise PolicySpecError(
                f"{spec.id}: features read {missing[0]!r}, and the log has no column "
                f"{CONTEXT}{missing[0]}; it has {known}"
            )
        return features


def _known(number: float) -> float | None:
    return None if math.isnan(number) else number
