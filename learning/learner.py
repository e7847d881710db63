"""The port every learner implements: fold new rows into what was learnt before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from learning.models import ValueModel
from learning.rows import FloatArray, Rows
from learning.succession import Succeeded


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """What comes out of a fold: the model to serve, and the state to go on from (empty: the prior).

    Of a portfolio, `member` is the one in charge whose model it is, and `changes` are those of this fold.
    """

    model: ValueModel
    state: bytes
    member: str = ""
    changes: tuple[Succeeded, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What is to be learnt: columns, bounds of the reward, and the prior that training starts from.

    `marks` are the places of the columns that tell arms apart, where each arm is to have a model of its own.
    """

    names: tuple[str, ...]
    low: float
    high: float
    weights: FloatArray
    intercept: float
    marks: tuple[int, ...] = ()


class Learner(Protocol):
    """Deterministic: equal state and rows give equal models, whatever happened to the process in between."""

    def fold(self, state: bytes | None, rows: Rows) -> Learnt:
        """Return the result of learning `rows`, in their order, on top of `state` (None: the prior).

        Raises:
            InvalidRows: rows that must not reach a learner; nothing was learnt.
            BrokenWeights: the state is damaged, or what came out is not finite.
            LearnerLost: its process can't be kept alive.
        """
        ...

    def merge(self, base: bytes | None, states: Sequence[bytes]) -> Learnt:
        """Return what came out of shards that each learned different rows on top of `base` (None: the prior).

        Raises:
            LearnerRefused: what it learns does not merge.
            BrokenWeights: there are none, or one of them is damaged or of other columns.
            LearnerLost: as `fold`.
        """
        ...

    def close(self) -> None:
        """Let go of the process, if there is one."""
        ...
