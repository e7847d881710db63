"""What an estimator is: a name, how it takes rounds apart, and at most one parameter."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from learning.errors import UnknownEstimator
from learning.evaluation.rounds import Weighed
from learning.evaluation.terms import Terms


@dataclass(frozen=True, slots=True)
class Estimator:
    """One entry of the registry.

    `formula(rounds, parameter)` returns the terms; `parameter` is None where the estimator has none and lies
    in (0, `upper`], or from 0 on where `from_zero`. `needs_model`: it uses predictions of rewards.
    """

    name: str
    title: str
    formula: Callable[[Weighed, float], Terms]
    needs_model: bool = False
    parameter: float | None = None
    symbol: str = ""
    upper: float = float("inf")
    from_zero: bool = False

    def terms(self, rounds: Weighed) -> Terms:
        """Take the rounds apart.

        Raises:
            InvalidRounds: the rounds do not have what this estimator needs.
        """
        return self.formula(rounds, 0.0 if self.parameter is None else self.parameter)

    def having(self, value: str | float) -> Estimator:
        """Return this estimator with its parameter set.

        Raises:
            UnknownEstimator: it has none, or not such a one.
        """
        if self.parameter is None:
            raise UnknownEstimator(f"{self.name} has no parameter: write {self.name} alone")
        low: Literal["[0", "(0"] = "[0" if self.from_zero else "(0"
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        above = number >= 0 if self.from_zero else number > 0
        within = above and number <= self.upper and math.isfinite(number)
        if not within:
            raise UnknownEstimator(
                f"{self.name}={value}: {self.symbol} must be a number in {low}, {self.upper:g}]"
            )
        return replace(self, parameter=number)
