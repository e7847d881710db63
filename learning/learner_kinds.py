"""The kinds of learners that a policy's specification can name, each one class."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from learning.features import ArmAttribute
from learning.learner import Learner, Task
from learning.models import DisjointGaussian, Linear, LinearGaussian, LogisticGaussian
from learning.models.linear import Link
from learning.posterior_learners import (
    DisjointLearner,
    GaussianLearner,
    LogisticLearner,
    disjoint_prior,
    gaussian_prior,
    logistic_prior,
)
from learning.vw_learner import Loss, VwLearner


class _Kind(BaseModel):
    """`posterior`: its models know how uncertain their scores are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    posterior: ClassVar[bool] = False


class Vw(_Kind):
    """VW as a scalar regressor on the chosen arm, in a process of its own (`learning/vw_learner.py`)."""

    kind: Literal["vw"]
    bits: int = Field(default=18, ge=10, le=26)
    learning_rate: float = Field(default=0.5, gt=0, le=10)
    passes: int = Field(default=1, ge=1, le=20)
    loss: Loss = "squared"

    def prior(self, task: Task) -> Linear:
        link: Link = "logistic" if self.loss == "logistic" else "identity"
        return Linear(task.names, task.weights, task.intercept, task.low, task.high, link)

    def start(self, task: Task) -> Learner:
        return VwLearner(
            task,
            bits=self.bits,
            learning_rate=self.learning_rate,
            passes=self.passes,
            loss=self.loss,
        )


class Gaussian(_Kind):
    """Bayesian ridge regression that keeps its sums; a row counts half after `half_life` later ones.

    With `per`, an attribute of which `features` have a one-hot, each of its names has a model of its own.
    """

    posterior: ClassVar[bool] = True

    kind: Literal["linear_gaussian"]
    ridge: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    half_life: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    per: ArmAttribute | None = None

    def prior(self, task: Task) -> LinearGaussian | DisjointGaussian:
        return gaussian_prior(task, self.ridge) if self.per is None else disjoint_prior(task, self.ridge)

    def start(self, task: Task) -> Learner:
        if self.per is not None:
            return DisjointLearner(task, ridge=self.ridge, half_life=self.half_life)
        return GaussianLearner(task, ridge=self.ridge, half_life=self.half_life)


class Logistic(_Kind):
    """Bayesian logistic regression for rewards that are shares of their bounds, mostly one or the other."""

    posterior: ClassVar[bool] = True

    kind: Literal["logistic"]
    ridge: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    half_life: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    def prior(self, task: Task) -> LogisticGaussian:
        return logistic_prior(task, self.ridge)

    def start(self, task: Task) -> Learner:
        return LogisticLearner(task, ridge=self.ridge, half_life=self.half_life)


LearnerKind = Annotated[Vw | Gaussian | Logistic, Field(discriminator="kind")]
