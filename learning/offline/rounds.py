"""Rounds of a log as a policy's specification sees them: context columns are scalars, actions are arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learning.errors import PolicySpecError, UnreadableLog
from learning.evaluation.log import Log
from learning.evaluation.logs.columns import Columns
from learning.evaluation.logs.files import columns_of
from learning.evaluation.logs.rounds import CONTEXT, log_of
from learning.features import FeatureSet
from learning.rows import Rows
from learning.spec import PolicySpec
from playbooks.models import Arm

FloatArray = NDArray[np.float64]

# The attribute by which features tell arms apart: `arm.action`.
ACTION = "action"


@dataclass(frozen=True, slots=True, eq=False)
class LoggedRounds:
    """A log, and the numbers of its columns `context.<name>` by name, shape (n,) each."""

    log: Log
    scalars: Mapping[str, FloatArray]

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
        return {name: float(values[row]) for name, values in self.scalars.items()}

    def only(self, rows: NDArray[np.bool_]) -> LoggedRounds:
        """Return the rounds that are marked.

        Raises:
            InvalidRounds: there are none.
        """
        return LoggedRounds(
            self.log.only(rows), {name: values[rows] for name, values in self.scalars.items()}
        )

    def rows(self, spec: PolicySpec) -> Rows:
        """Return the chosen actions' columns and what they earned.

        Raises:
            PolicySpecError: the features read what the log has not.
        """
        features, arms = self.feature_set(spec), self.arms
        scalars = {name: self.scalars[name].tolist() for name in features.inputs}
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


def read_rounds(path: Path) -> LoggedRounds:
    """Return the rounds in a CSV or Parquet file: action, reward, pscore, and numbers `context.<name>`.

    Raises:
        UnreadableLog: it can't be read as rounds, too much of it is wrong, or a context column has texts.
    """
    columns = columns_of(path)
    names = [name for name in columns.names if name.startswith(CONTEXT)]
    for name in names:
        kind = "lists" if columns.listed(name) else "texts" if columns.categories(name) is not None else ""
        if kind:
            raise UnreadableLog(
                f"{path}: the column {name} has {kind}; a specification's scalars are numbers"
            )
    read = Columns({name: columns.cells(name) for name in names}, columns.rows)
    values = {name.removeprefix(CONTEXT): read.numbers(name) for name in names}
    log = log_of(columns, str(path))
    good = np.ones(columns.rows, dtype=np.bool_)
    good[[one.row - 1 for one in log.refused]] = False
    return LoggedRounds(log, {name: numbers[good] for name, numbers in values.items()})
