"""The kinds of learners that a policy's specification can name, each one class."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from learning.feature_kinds import ArmAttribute
from learning.learner import Learner, Task
from learning.models import DisjointGaussian, Linear, LinearGaussian, LogisticGaussian, ValueModel
from learning.models.linear import Link
from learning.portfolio_learner import PortfolioLearner
from learning.posterior_learners import (
    DisjointLearner,
    GaussianLearner,
    LogisticLearner,
    disjoint_prior,
    gaussian_prior,
    logistic_prior,
)
from learning.vw_learner import Loss, VwLearner
from learning.worth_learner import WorthLearner, with_worth


class _Kind(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def posterior(self) -> bool:
        """Whether its models know how uncertain their scores are."""
        return False

    @property
    def link(self) -> Link:
        """What its weights add up to: the reward, or its log-odds."""
        return "identity"

    @property
    def marks(self) -> ArmAttribute | None:
        """The attribute of which each name has a model of its own."""
        return None

    @property
    def merges(self) -> bool:
        """Whether what was learnt of different rows can be put together."""
        return False

    @property
    def memory(self) -> float:
        """To how many whole rows all that is learned comes at most; infinite where nothing fades."""
        return math.inf

    @property
    def worths(self) -> frozenset[str]:
        """The columns that it takes for what a success is worth."""
        return frozenset()

    def cells(self, columns: int, marks: int) -> int:
        """Return how many covariances it keeps of `columns`, among them `marks` that tell arms apart."""
        return 0


class _Single(_Kind, ABC):
    """One model. With `worth`, the column that says what a success is worth, it is of the chance of one."""

    worth: str | None = None

    @property
    def worths(self) -> frozenset[str]:
        return frozenset() if self.worth is None else frozenset({self.worth})

    def prior(self, task: Task) -> ValueModel:
        """Return the model of a task before anything was learnt."""
        if self.worth is None:
            return self._prior(task)
        return with_worth(task, task.names.index(self.worth), self._prior)

    def start(self, task: Task) -> Learner:
        """Return the learner of a task."""
        if self.worth is None:
            return self._start(task)
        return WorthLearner(task, task.names.index(self.worth), self._start)

    @abstractmethod
    def _prior(self, task: Task) -> ValueModel: ...

    @abstractmethod
    def _start(self, task: Task) -> Learner: ...


class _Posterior(_Single):
    @property
    @abstractmethod
    def fades(self) -> float | None:
        """After how many rows one counts half; None: all count alike."""

    @property
    def merges(self) -> bool:
        return self.fades is None

    @property
    def posterior(self) -> bool:
        return True

    @property
    def memory(self) -> float:
        return math.inf if self.fades is None else self.fades / math.log(2)

    def cells(self, columns: int, marks: int) -> int:
        if self.marks is None:
            return (columns + 1) ** 2
        return (columns - marks + 1) ** 2 * (marks + 1)


class Vw(_Single):
    """VW as a scalar regressor on the chosen arm, in a process of its own (`learning/vw_learner.py`)."""

    kind: Literal["vw"]
    bits: int = Field(default=18, ge=10, le=26)
    learning_rate: float = Field(default=0.5, gt=0, le=10)
    passes: int = Field(default=1, ge=1, le=20)
    loss: Loss = "squared"

    @property
    def merges(self) -> bool:
        return True

    @property
    def link(self) -> Link:
        return "logistic" if self.loss == "logistic" else "identity"

    def _prior(self, task: Task) -> Linear:
        return Linear(task.names, task.weights, task.intercept, task.low, task.high, self.link)

    def _start(self, task: Task) -> Learner:
        return VwLearner(
            task,
            bits=self.bits,
            learning_rate=self.learning_rate,
            passes=self.passes,
            loss=self.loss,
        )


class Gaussian(_Posterior):
    """Bayesian ridge regression that keeps its sums; a row counts half after `half_life` later ones.

    With `per`, an attribute of which `features` have a one-hot, each of its names has a model of its own.
    """

    kind: Literal["linear_gaussian"]
    ridge: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    half_life: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    per: ArmAttribute | None = None

    @property
    def fades(self) -> float | None:
        return self.half_life

    @property
    def marks(self) -> ArmAttribute | None:
        return self.per

    def _prior(self, task: Task) -> LinearGaussian | DisjointGaussian:
        return gaussian_prior(task, self.ridge) if self.per is None else disjoint_prior(task, self.ridge)

    def _start(self, task: Task) -> Learner:
        if self.per is not None:
            return DisjointLearner(task, ridge=self.ridge, half_life=self.half_life)
        return GaussianLearner(task, ridge=self.ridge, half_life=self.half_life)


class Logistic(_Posterior):
    """Bayesian logistic regression for rewards that are shares of their bounds, mostly one or the other."""

    kind: Literal["logistic"]
    ridge: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    half_life: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @property
    def fades(self) -> float | None:
        return self.half_life

    @property
    def link(self) -> Link:
        return "logistic"

    def _prior(self, task: Task) -> LogisticGaussian:
        return logistic_prior(task, self.ridge)

    def _start(self, task: Task) -> Learner:
        return LogisticLearner(task, ridge=self.ridge, half_life=self.half_life)


MemberKind = Annotated[Vw | Gaussian | Logistic, Field(discriminator="kind")]
MemberName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class Portfolio(_Kind):
    """Several learners on the same rows, the first in charge until another has shown to predict better.

    `error` is the chance that a change of who is in charge rests on luck alone.
    """

    kind: Literal["portfolio"]
    members: dict[MemberName, MemberKind] = Field(min_length=2, max_length=8)
    error: float = Field(default=0.1, gt=0, lt=1)

    @field_validator("members")
    @classmethod
    def _tell_arms_apart_alike(cls, value: dict[str, MemberKind]) -> dict[str, MemberKind]:
        if len(told := {one.marks for one in value.values()} - {None}) > 1:
            raise ValueError(f"members tell arms apart by {' and '.join(sorted(map(str, told)))}; take one")
        return value

    @property
    def posterior(self) -> bool:
        return all(one.posterior for one in self.members.values())

    @property
    def marks(self) -> ArmAttribute | None:
        return next((one.marks for one in self.members.values() if one.marks is not None), None)

    @property
    def memory(self) -> float:
        return min(one.memory for one in self.members.values())

    @property
    def worths(self) -> frozenset[str]:
        return frozenset().union(*(one.worths for one in self.members.values()))

    def cells(self, columns: int, marks: int) -> int:
        return sum(one.cells(columns, marks) for one in self.members.values())

    @property
    def first(self) -> str:
        """The member in charge at the beginning."""
        return next(iter(self.members))

    def prior(self, task: Task) -> ValueModel:
        return self.members[self.first].prior(task)

    def start(self, task: Task) -> Learner:
        members: Mapping[str, Learner] = {name: one.start(task) for name, one in self.members.items()}
        priors = {name: one.prior(task) for name, one in self.members.items()}
        return PortfolioLearner(task, members, priors, self.error)


LearnerKind = Annotated[Vw | Gaussian | Logistic | Portfolio, Field(discriminator="kind")]
