"""Evidence that one model predicts better than another, which holds however often one looks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from learning.errors import BrokenWeights

FloatArray = NDArray[np.float64]

# What is staked on a difference of losses: many sizes at once, as the best is not known beforehand.
_STAKES = np.array([0.25, 0.5, 1.0, 2.0, 4.0, 8.0])
# The largest share of the wealth that a bet can lose.
_MOST_LOST = 0.5


class Evidence:
    """Wealth of gamblers who bet, for each challenger, that it predicts better than the one in charge.

    Each round's bet is on the difference of two squared errors, and its size follows from the predictions,
    before the reward is known. If the one in charge is as good, on average whatever came before, no gambler's
    wealth grows on average, and that it ever reaches c has a chance of 1 / c at most (Ville's inequality).
    Shafer, "Testing by betting" (JRSS A 2021); Waudby-Smith and Ramdas, "Estimating means of bounded random
    variables by betting" (JRSS B 2023).

    >>> evidence = Evidence(1)
    >>> for _ in range(12):
    ...     evidence.add(0.5, [0.9], 1.0)
    >>> round(float(evidence.odds[0]))
    8
    """

    def __init__(self, challengers: int) -> None:
        # Logarithms: wealth may shrink beyond what a double holds.
        self._wealth: FloatArray = np.zeros((challengers, len(_STAKES)))

    def add(self, expected: float, others: FloatArray | list[float], reward: float) -> None:
        """Take in one round: what the one in charge expected, what the challengers did, and what it was.

        All are shares of the reward's bounds, in [0, 1].
        """
        self.add_until(
            np.array([expected]), np.asarray(others, dtype=np.float64)[None, :], np.array([reward])
        )

    def add_until(
        self, expected: FloatArray, others: FloatArray, rewards: FloatArray, odds: float = np.inf
    ) -> int:
        """Take in rounds in their order until a challenger has such odds; return how many were taken in.

        Args:
            expected: what the one in charge expected, shape (n,); `others` what the challengers did,
                shape (n, challengers); `rewards` what it was, shape (n,). All as shares, in [0, 1].
        """

        def ahead(outcome: FloatArray | float) -> FloatArray:
            difference: FloatArray = ((expected - outcome) ** 2)[:, None] - (others.T - outcome).T ** 2
            return difference

        # The difference is linear in the reward, so that its worst is at a bound.
        worst = np.maximum(0.0, -np.minimum(ahead(0.0), ahead(1.0)))
        limit = np.divide(_MOST_LOST, worst, out=np.full(worst.shape, np.inf), where=worst > 0)
        stakes = np.minimum(_STAKES, limit[:, :, None])
        wealth = self._wealth + np.cumsum(np.log1p(stakes * ahead(rewards)[:, :, None]), axis=0)
        reached = _odds(wealth).max(axis=1, initial=0.0) >= odds
        taken = int(reached.argmax()) + 1 if reached.any() else len(rewards)
        if taken:
            self._wealth = wealth[taken - 1]
        return taken

    @property
    def kept(self) -> bytes:
        """The wealth as little-endian doubles, for `restore`."""
        return self._wealth.astype("<f8").tobytes()

    def restore(self, kept: bytes) -> None:
        """Go on from what was kept of as many challengers.

        Raises:
            BrokenWeights: it is of another size, or not finite.
        """
        wealth = np.frombuffer(kept, dtype="<f8") if len(kept) == self._wealth.nbytes else np.full(1, np.nan)
        if not np.isfinite(wealth).all():
            raise BrokenWeights(f"{len(kept)} bytes are no evidence for {len(self._wealth)} models")
        self._wealth = wealth.astype(np.float64).reshape(self._wealth.shape)

    @property
    def odds(self) -> FloatArray:
        """Wealth for each challenger, 1 at the beginning; one that has `needed` has shown to be better."""
        return _odds(self._wealth)


def _odds(wealth: FloatArray) -> FloatArray:
    """Return the mean over stakes of what logarithms of wealth, shape (…, stakes), stand for."""
    top = wealth.max(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):
        odds: FloatArray = np.exp(top[..., 0]) * np.exp(wealth - top).mean(axis=-1)
    return odds


def needed(challengers: int, error: float) -> float:
    """Return the odds that one of so many has to reach for a chance of `error` at most that it is luck."""
    return challengers / error
