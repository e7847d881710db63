"""From contexts to what a linear model can weigh: scaled columns, and random Fourier features of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Units = Literal["each", "common"]

# Scaled values beyond this are cut: one odd row must not outweigh all others.
_FURTHEST = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """Centre and unit of each column, of rows seen so far, and how many columns vary."""

    centre: FloatArray
    unit: FloatArray
    varying: int

    @classmethod
    def of(cls, contexts: FloatArray, units: Units) -> Scaling:
        """Scale the columns of contexts, shape (n, d), n >= 1.

        `each` column's unit is its deviation. `common` is for columns that are measured in one unit, as
        pixels are: halfway, as a geometric mean, to the root mean square of all deviations, so that columns
        which hardly vary stay small. A column that does not vary becomes 0.
        """
        deviation = contexts.std(axis=0)
        varies = deviation > 0
        unit = deviation.copy()
        if units == "common" and varies.any():
            unit = np.sqrt(deviation * np.sqrt(np.mean(deviation[varies] ** 2)))
        return cls(contexts.mean(axis=0), np.where(varies, unit, np.inf), max(1, int(varies.sum())))

    def apply(self, contexts: FloatArray) -> FloatArray:
        """Return scaled columns, each mostly within ±1."""
        scaled: FloatArray = np.clip((contexts - self.centre) / self.unit, -_FURTHEST, _FURTHEST)
        return scaled


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """Features of contexts; with `frequencies` (d, m) random Fourier features, without them linear ones.

    Random Fourier features approximate a Gaussian kernel: Rahimi and Recht, "Random Features for Large-Scale
    Kernel Machines" (NeurIPS 2007).
    """

    scaling: Scaling
    frequencies: FloatArray | None
    amplitude: float
    intercept: float

    def features(self, contexts: FloatArray) -> FloatArray:
        """Return the features of contexts, shape (n, d) → (n, p)."""
        # Over the root of their number, so that a usual row has length 1.
        scaled = self.scaling.apply(contexts) / np.sqrt(self.scaling.varying)
        ones = np.full((len(contexts), 1), self.intercept)
        if self.frequencies is None:
            return np.hstack([ones, self.amplitude * scaled])
        angles = scaled @ self.frequencies
        size = self.amplitude / np.sqrt(self.frequencies.shape[1])
        return np.hstack([ones, size * np.cos(angles), size * np.sin(angles)])
