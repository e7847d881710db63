"""What every estimator and interval is computed from: logged rounds as a candidate policy sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learning.errors import InvalidRounds

FloatArray = NDArray[np.float64]
# More than rounding: what sums of probabilities read from files may be off by.
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """n logged rounds and a candidate's view of them, arrays of shape (n,).

    `weights` are the candidate's probability of the chosen action over the propensity it was drawn with;
    `certain` says where that probability is 1. `q_chosen` is a reward model's prediction for the chosen
    action and `q_candidate` its prediction averaged over the candidate's probabilities; both or neither, and
    not fitted on the rounds they predict. `owners` numbers the independent units (users) from 0, None where
    each round is one.
    `low` and `high` bound every reward, `largest` every weight, also those that did not come up;
    `round_caps` bound the weight of each round, as was known before its draw.

    Raises:
        InvalidRounds: arrays that are empty, uneven, not finite or out of range.
    """

    rewards: FloatArray
    weights: FloatArray
    low: float = 0.0
    high: float = 1.0
    largest: float | None = None
    certain: NDArray[np.bool_] | None = None
    q_chosen: FloatArray | None = None
    q_candidate: FloatArray | None = None
    owners: NDArray[np.intp] | None = None
    round_caps: FloatArray | None = None

    def __post_init__(self) -> None:
        n = len(self.rewards)
        arrays = [self.rewards, self.weights, self.q_chosen, self.q_candidate, self.round_caps]
        shapes = {array.shape for array in (*arrays, self.owners, self.certain) if array is not None}
        if shapes != {(n,)} or n == 0:
            raise InvalidRounds(
                f"an estimate needs arrays of one length, at least 1, not of shapes {sorted(shapes)}"
            )
        if not all(np.isfinite(array).all() for array in arrays if array is not None):
            raise InvalidRounds("rewards, weights and predictions must be finite")
        if (self.weights < 0).any():
            raise InvalidRounds("weights are ratios of probabilities and can't be negative")
        if (self.q_chosen is None) is not (self.q_candidate is None):
            raise InvalidRounds("a reward model predicts the chosen action and the candidate's, or nothing")
        if not self.low < self.high or self.rewards.min() < self.low or self.rewards.max() > self.high:
            raise InvalidRounds(
                f"rewards from {self.rewards.min():g} to {self.rewards.max():g} do not lie in "
                f"[{self.low:g}, {self.high:g}]"
            )
        if self.largest is not None and self.weights.max() > self.largest * (1 + TOLERANCE):
            raise InvalidRounds(f"a weight of {self.weights.max():g} is above the largest, {self.largest:g}")

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def has_model(self) -> bool:
        return self.q_chosen is not None

    @property
    def bound(self) -> float:
        """The largest weight there can be: as given, else the largest there was."""
        return float(self.weights.max()) if self.largest is None else self.largest

    @property
    def caps(self) -> FloatArray:
        """The largest weight there could be in each round, shape (n,)."""
        return np.full(len(self), self.bound) if self.round_caps is None else self.round_caps

    def model(self) -> tuple[FloatArray, FloatArray]:
        """Return `q_chosen` and `q_candidate`.

        Raises:
            InvalidRounds: there is no reward model.
        """
        if self.q_chosen is None or self.q_candidate is None:
            raise InvalidRounds("this estimator needs a reward model's predictions (estimated_rewards)")
        return self.q_chosen, self.q_candidate
