"""What each round contributes to an estimate, in the one form that all estimators share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learning.errors import InvalidRounds

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """An estimate as mean(base) + Σ correction / Σ scale, arrays of shape (n,).

    A `base` or `scale` of None is 0 or 1 in every round. Sums are all that resampling needs, and one form
    lets all estimators share the resamples. `rewarded` says that rewards of the log are in it, of the direct
    method they are not.
    """

    correction: FloatArray
    base: FloatArray | None = None
    scale: FloatArray | None = None
    rewarded: bool = True

    def __len__(self) -> int:
        return len(self.correction)

    @property
    def value(self) -> float:
        """The estimate.

        Raises:
            InvalidRounds: the scale is 0 in every round: the candidate shares no action with the log.
        """
        base = 0.0 if self.base is None else float(self.base.mean())
        if self.scale is None:
            return base + float(self.correction.mean())
        return base + float(self.correction.sum()) / self._total()

    @property
    def influence(self) -> FloatArray:
        """How each round moves the estimate: n times its effect, of mean 0; the variance comes from it.

        For the ratio it is the linearisation (delta method): Owen, "Monte Carlo theory, methods and
        examples" (2013), 9.2.
        """
        if self.scale is None:
            moved: FloatArray = self.correction - self.correction.mean()
        else:
            mean = self._total() / len(self)
            ratio = float(self.correction.mean()) / mean
            moved = (self.correction - ratio * self.scale) / mean
        if self.base is not None:
            moved = moved + self.base - self.base.mean()
        return moved

    def _total(self) -> float:
        total = float(np.sum(self.scale)) if self.scale is not None else float(len(self))
        if total == 0.0:
            raise InvalidRounds(
                "all weights are 0: the candidate never does what was logged, nothing can be said"
            )
        return total
