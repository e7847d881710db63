"""A Gaussian posterior for each arm, learnt round by round: the inverse is kept, so that a row costs p²."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class Posteriors:
    """Of k arms, weights ~ N(0, I) and rewards ~ N(features · weights, noise²).

    The same numbers as `DisjointGaussian` of ridge noise², whose sums are solved anew at each fold; here each
    row is one Sherman-Morrison step (Sherman and Morrison, Annals of Mathematical Statistics 1950).
    """

    def __init__(self, arms: int, features: int, noise: float) -> None:
        self._noise = noise
        # (Σ x xᵀ + noise² I)⁻¹ of each arm, Σ x y, and their product.
        self._inverse = np.stack([np.eye(features) / noise**2] * arms)
        self._moment = np.zeros((arms, features))
        self._mean = np.zeros((arms, features))

    def learn_all(self, features: FloatArray, actions: NDArray[np.intp], rewards: FloatArray) -> None:
        """Learn rows (n, p) at once, of arms nothing was learnt of."""
        for arm in np.unique(actions).tolist():
            rows = features[actions == arm]
            self._inverse[arm] = _inverse(rows, self._noise**2)
            self._moment[arm] = rows.T @ rewards[actions == arm]
            self._mean[arm] = self._inverse[arm] @ self._moment[arm]

    def learn(self, row: FloatArray, action: int, reward: float) -> None:
        """Learn one row."""
        inverse = self._inverse[action]
        along = inverse @ row
        inverse -= np.outer(along, along / (1.0 + row @ along))
        self._moment[action] += reward * row
        self._mean[action] = inverse @ self._moment[action]

    def means(self, row: FloatArray) -> FloatArray:
        """Return each arm's expected reward, shape (k,)."""
        result: FloatArray = self._mean @ row
        return result

    def deviations(self, row: FloatArray) -> FloatArray:
        """Return the deviation of each arm's expectation, shape (k,)."""
        variances = (self._inverse @ row) @ row
        result: FloatArray = self._noise * np.sqrt(np.maximum(variances, 0.0))
        return result


def _inverse(rows: FloatArray, ridge: float) -> FloatArray:
    """Return (rowsᵀ rows + ridge I)⁻¹; of few rows by Woodbury's identity, where only as many are solved."""
    n, p = rows.shape
    if n < p:
        inner = rows @ rows.T + ridge * np.eye(n)
        return (np.eye(p) - rows.T @ np.linalg.solve(inner, rows)) / ridge
    return np.linalg.inv(rows.T @ rows + ridge * np.eye(p)).astype(np.float64, copy=False)
