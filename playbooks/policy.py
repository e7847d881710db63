"""The port through which matching asks a policy; learning/ implements it, decision/ wires it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from playbooks.models import Arm

FloatArray = NDArray[np.float64]


class Policy(Protocol):
    """Value model and exploration of one version. Its methods are pure and thread-safe."""

    @property
    def version(self) -> str:
        """Name of this immutable version; the decision log carries it."""
        ...

    @property
    def inputs(self) -> frozenset[str]:
        """Names of the user's features that `score` reads: what a decision has to record, and no more."""
        ...

    def score(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray:
        """Return each arm's expected reward for a user with these features, shape (len(arms),), finite."""
        ...

    def explore(self, scores: FloatArray) -> FloatArray:
        """Turn net scores, shape (k,), into probabilities, shape (k,), that sum to 1, always the same."""
        ...
