"""A policy's specification: features, bounds, learner, prior and exploration, read from YAML.

id: next_category
placements: [outbound]
reward: {low: 0, high: 1}
features:
  - {name: rate_12w, from: category_rate_12w, at: arm.category, transform: [raw, sqrt]}
prior: {intercept: 0.0, weights: {rate_12w: 0.5}}
learner: {kind: vw}
exploration: {kind: epsilon_greedy, epsilon: {start: 1.0, floor: 0.02, half_life: 2400}}
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from learning.errors import PolicySpecError
from learning.exploration_kinds import ExplorationKind
from learning.features import Feature, FromScalar
from learning.features import Name as FeatureName
from learning.learner import GaussianLearner, Learner, Task, gaussian_prior
from learning.models import Linear, LinearGaussian, ValueModel
from learning.models.linear import Link
from learning.vw_learner import Loss, VwLearner
from playbooks.document import Name
from playbooks.guards import LoyalGuard
from playbooks.money import Money

FloatArray = NDArray[np.float64]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bounds(_Document):
    """The smallest and the largest reward a decision can bring; predictions are cut to them."""

    low: float = Field(default=0.0, allow_inf_nan=False)
    high: float = Field(default=1.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> Bounds:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low}) must lie below high ({self.high})")
        return self


class Prior(_Document):
    """The model before anything was learnt: what an expert expects, or nothing (all scores equal)."""

    intercept: float = Field(default=0.0, allow_inf_nan=False)
    weights: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = {}


class Vw(_Document):
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


class Gaussian(_Document):
    """Bayesian ridge regression that keeps its sums; a row counts half after `half_life` later ones."""

    kind: Literal["linear_gaussian"]
    ridge: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    half_life: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    def prior(self, task: Task) -> LinearGaussian:
        return gaussian_prior(task, self.ridge)

    def start(self, task: Task) -> Learner:
        return GaussianLearner(task, ridge=self.ridge, half_life=self.half_life)


class PolicySpec(_Document):
    """Everything that makes a policy but its weights.

    `guards` shape what is offered to whom, before arms are scored.
    `costs` say by currency what a minor unit of an arm's cost takes from its value, in units of reward.
    `context` are numbers that a request tells about its moment; features of those names read them.
    A policy whose exploration does not learn (a fixed split, a single variant) has no features, prior and
    learner; every other has a learner and features.
    """

    id: Name
    placements: list[str] = Field(min_length=1)
    guards: list[LoyalGuard] = []
    costs: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}
    reward: Bounds = Bounds()
    context: list[FeatureName] = []
    features: list[Feature] = []
    prior: Prior = Prior()
    learner: Annotated[Vw | Gaussian, Field(discriminator="kind")] | None = None
    exploration: ExplorationKind

    @field_validator("costs")
    @classmethod
    def _are_currencies(cls, value: dict[str, float]) -> dict[str, float]:
        for currency in value:
            Money(0, currency)
        return value

    @model_validator(mode="after")
    def _context_is_read(self) -> PolicySpec:
        read = {feature.scalar for feature in self.features if isinstance(feature, FromScalar)}
        if idle := sorted(set(self.context) - read):
            raise ValueError(
                f"context: no feature reads {idle[0]!r}; add {{scalar: {idle[0]}}} to features, or drop it"
            )
        if doubles := sorted({name for name in self.context if self.context.count(name) > 1}):
            raise ValueError(f"context lists {', '.join(doubles)} more than once")
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> PolicySpec:
        kind = self.exploration.kind
        if not self.exploration.learns:
            if self.features or self.learner is not None or self.prior != Prior():
                raise ValueError(
                    f"exploration.kind {kind} draws by what is written there and learns nothing: leave out "
                    "features, prior and learner"
                )
            return self
        if not self.features:
            raise ValueError(f"features: exploration.kind {kind} needs at least one feature to score arms by")
        if self.learner is None:
            raise ValueError(
                f"learner: exploration.kind {kind} needs one: {{kind: vw}} or {{kind: linear_gaussian}}"
            )
        if self.exploration.uncertain and not isinstance(self.learner, Gaussian):
            raise ValueError(
                f"learner: exploration.kind {kind} draws from a posterior, which {self.learner.kind} has "
                "not: write {kind: linear_gaussian}"
            )
        return self

    @property
    def fingerprint(self) -> str:
        """Equal specifications have equal fingerprints."""
        # Guards and costs change nothing of what was learnt; and specifications from before there was a
        # context keep their fingerprints and weights.
        left_out = {"guards", "costs"} if self.context else {"guards", "costs", "context"}
        text = self.model_dump_json(by_alias=True, exclude=left_out)
        return blake2b(text.encode(), digest_size=8).hexdigest()

    def untrained(self, names: tuple[str, ...]) -> ValueModel:
        """Return the model before anything was learnt; of a policy that never learns, one that scores 0.

        Raises:
            PolicySpecError: as `task`.
        """
        if self.learner is None:
            return Linear((), np.zeros(0), 0.0, self.reward.low, self.reward.high)
        return self.learner.prior(self.task(names))

    def task(self, names: tuple[str, ...]) -> Task:
        """Return what a learner has to know, given the columns' names.

        Raises:
            PolicySpecError: the prior weighs a column that does not exist.
        """
        if unknown := sorted(set(self.prior.weights) - set(names)):
            raise PolicySpecError(
                f"{self.id}: prior.weights names the column {unknown[0]!r}, which the features do not make; "
                f"columns: {', '.join(names)}"
            )
        weights = np.array([self.prior.weights.get(name, 0.0) for name in names])
        return Task(names, self.reward.low, self.reward.high, weights, self.prior.intercept)


def read_spec(path: Path) -> PolicySpec:
    """Read a policy's specification from a YAML file.

    Raises:
        PolicySpecError: the file is missing, is not YAML, or has an unknown or wrong field.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PolicySpecError(f"{path}: can't be read: {error}") from error
    try:
        return PolicySpec.model_validate(value)
    except ValidationError as error:
        problems = [f"  {'.'.join(map(str, e['loc'])) or 'document'}: {e['msg']}" for e in error.errors()]
        raise PolicySpecError(f"{path}: not a policy:\n" + "\n".join(problems)) from error
