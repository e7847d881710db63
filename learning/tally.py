"""Sums over rows that were learnt: how many, what they earned, and how well they had been predicted."""

from __future__ import annotations

import math

import msgspec

from learning.rows import FloatArray, Rows


class Tally(msgspec.Struct):
    """Of `rows` the rewards add up to `earned`; `judged` of them had been predicted before, with `errors`."""

    rows: int = 0
    earned: float = 0.0
    judged: int = 0
    rewards: float = 0.0
    errors: float = 0.0
    squares: float = 0.0

    def add(self, rows: Rows, predicted: FloatArray | None = None) -> None:
        """Count rows, and what was predicted of them where that is an honest prediction."""
        self.rows += len(rows)
        self.earned += float(rows.targets.sum())
        if predicted is None:
            return
        errors = predicted - rows.targets
        self.judged += len(rows)
        self.rewards += float(rows.targets.sum())
        self.errors += float(errors.sum())
        self.squares += float((errors**2).sum())

    def take(self, other: Tally) -> None:
        """Count what another one counted."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def metrics(self) -> dict[str, float]:
        """Return what a version tells of the rows that were judged, at least one."""
        return {
            "rows": float(self.judged),
            "mean_reward": self.rewards / self.judged,
            "mean_error_before": self.errors / self.judged,
            "rms_error_before": math.sqrt(self.squares / self.judged),
        }
