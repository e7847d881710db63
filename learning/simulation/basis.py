"""From contexts to what a linear model can weigh: scaled columns, and random Fourier features of them."""

from __future__ import annotations

from collections.abc import Sequence
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
class Part:
    """One block of features: with `frequencies` (d, m) random Fourier features, without them linear ones.

    Random Fourier features approximate a Gaussian kernel: Rahimi and Recht, "Random Features for Large-Scale
    Kernel Machines" (NeurIPS 2007). `amplitude` is the deviation of what is expected beforehand.
    """

    units: Units
    frequencies: FloatArray | None
    amplitude: float

    def features(self, contexts: FloatArray, scaling: Scaling) -> FloatArray:
        """Return the features of contexts, shape (n, d) → (n, p)."""
        # Over the root of their number, so that a usual row has length 1.
        scaled = scaling.apply(contexts) / np.sqrt(scaling.varying)
        if self.frequencies is None:
            linear: FloatArray = self.amplitude * scaled
            return linear
        angles = scaled @ self.frequencies
        size = self.amplitude / np.sqrt(self.frequencies.shape[1])
        return np.hstack([size * np.cos(angles), size * np.sin(angles)])


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """Blocks of features side by side, so that kernels add, and a constant; each scaled as its units say."""

    parts: Sequence[tuple[Part, Scaling]]
    constant: float

    @classmethod
    def of(cls, contexts: FloatArray, parts: Sequence[Part], constant: float) -> Basis:
        """Scale by contexts, shape (n, d), n >= 1."""
        return cls([(part, Scaling.of(contexts, part.units)) for part in parts], constant)

    def features(self, contexts: FloatArray) -> FloatArray:
        """Return the features of contexts, shape (n, d) → (n, p)."""
        blocks = [part.features(contexts, scaling) for part, scaling in self.parts]
        return np.hstack([np.full((len(contexts), 1), self.constant), *blocks])
