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

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from feature_repo.yaml_documents import load, said
from learning.context import Context, Told, texts_of
from learning.errors import PolicySpecError
from learning.exploration_kinds import ExplorationKind, Thompson
from learning.feature_kinds import Cross, Feature, FromScalar, OneHot, Product
from learning.learner import Task
from learning.learner_kinds import LearnerKind, Portfolio
from learning.models import Linear, ValueModel
from playbooks.constraints.binding import CONTEXT as OF_EVERY_DECISION
from playbooks.document import Name
from playbooks.guards import LoyalGuard
from playbooks.models import OUTBOUND
from playbooks.shaping import Costs, Shaping
from playbooks.suggesting import closest

FloatArray = NDArray[np.float64]

# A playbook, or one of its arms.
Fallback = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}(/[a-z0-9_]{1,300})?$")]
# Covariances that a posterior may keep: 200 MB of them, read and written with each version.
_MOST_CELLS = 25_000_000


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


class PolicySpec(_Document):
    """Everything that makes a policy but its weights.

    `guards` shape what is offered to whom, before arms are scored.
    `costs` say by currency what a minor unit of an arm's cost takes from its value, in units of reward.
    `context` is what a request tells about its moment: names of numbers that features read, or by name the
    kind of each (`number`, `text`, `condition`, or the texts it may be), of which features may read those
    that are no texts, and rules all.
    `fallbacks` say by placement what is shown there where no policy can be asked: a playbook of one arm, or
    an arm, `playbook/variant`.
    With `open_windows: learn` decisions whose windows are open teach what is known of them so far
    (`learning.censoring`).
    A policy whose exploration does not learn (a fixed split, a single variant) has no features, prior and
    learner; every other has a learner and features.
    """

    id: Name
    placements: list[str] = Field(min_length=1)
    guards: list[LoyalGuard] = []
    costs: Costs = {}
    fallbacks: dict[str, Fallback] = {}
    reward: Bounds = Bounds()
    context: Context = []
    features: list[Feature] = []
    prior: Prior = Prior()
    learner: LearnerKind | None = None
    open_windows: Literal["wait", "learn"] = "wait"
    exploration: ExplorationKind

    @field_validator("fallbacks", mode="after")
    @classmethod
    def _shown_somewhere(cls, fallbacks: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        placements = info.data.get("placements", fallbacks)
        for placement in fallbacks:
            if placement not in placements:
                raise ValueError(
                    f"the policy serves no placement {placement!r}{closest(placement, placements)}"
                )
            if placement == OUTBOUND:
                raise ValueError(
                    f"{OUTBOUND} has none: what is sent needs consent and caps, which nobody knows of then"
                )
        return fallbacks

    @model_validator(mode="after")
    def _context_is_read(self) -> PolicySpec:
        if isinstance(self.context, dict):
            if taken := [name for name in self.context if f"context.{name}" in OF_EVERY_DECISION]:
                raise ValueError(
                    f"context: rules know the {taken[0]!r} of every decision; give what requests tell "
                    "another name"
                )
            if wrong := sorted(self._read.intersection(texts_of(self.context))):
                raise ValueError(
                    f"context: {wrong[0]!r} is text, and features read numbers: only rules can ask for it"
                )
            return self
        if idle := sorted(set(self.context) - self._read):
            raise ValueError(
                f"context: no feature reads {idle[0]!r}; add {{scalar: {idle[0]}}} to features, drop it, or, "
                f"where only rules ask for it, write {{{idle[0]}: number}}"
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
            if self.open_windows != "wait":
                raise ValueError(f"open_windows: exploration.kind {kind} learns of no window; leave it out")
            return self
        if not self.features:
            raise ValueError(f"features: exploration.kind {kind} needs at least one feature to score arms by")
        if self.learner is None:
            raise ValueError(
                f"learner: exploration.kind {kind} needs one: {{kind: vw}}, {{kind: linear_gaussian}}, "
                "{kind: logistic} or {kind: portfolio}"
            )
        if self.exploration.uncertain and not self.learner.posterior:
            raise ValueError(
                f"learner: exploration.kind {kind} draws from a posterior, which {self.learner.kind} has "
                "not: write {kind: linear_gaussian} or {kind: logistic}"
            )
        return self

    @model_validator(mode="after")
    def _prior_fits_all_members(self) -> PolicySpec:
        if self.prior == Prior() or not isinstance(self.learner, Portfolio):
            return self
        links = {one.link: name for name, one in self.learner.members.items()}
        if len(links) > 1:
            raise ValueError(
                f"prior: {links['identity']} would take it for rewards and {links['logistic']} for log-odds; "
                "leave the prior out, or take members of one sort"
            )
        if self.learner.worths and not all(one.worths for one in self.learner.members.values()):
            raise ValueError(
                "prior: members with `worth` would take it for chances and the others for rewards; leave the "
                "prior out, or give all of them one"
            )
        return self

    @model_validator(mode="after")
    def _arms_are_told_apart(self) -> PolicySpec:
        per = None if self.learner is None else self.learner.marks
        known = [feature.one_hot for feature in self.features if isinstance(feature, OneHot)]
        if per is not None and per not in known:
            raise ValueError(
                f"learner.per: no feature tells arms apart by {per}; add {{one_hot: {per}}} to features"
                + (f", or write {known[0]}" if known else "")
            )
        return self

    @property
    def told(self) -> Mapping[str, Told]:
        """What a request may tell, by name."""
        return self.context if isinstance(self.context, dict) else dict.fromkeys(self.context, "number")

    @property
    def _read(self) -> set[str]:
        return {feature.scalar for feature in self.features if isinstance(feature, FromScalar)}

    @property
    def shaping(self) -> Shaping:
        """The guards and costs that the file says."""
        return Shaping(guards=self.guards, costs=self.costs)

    @property
    def fingerprint(self) -> str:
        """Equal specifications have equal fingerprints."""
        # Guards, costs, fallbacks and open windows change nothing of what was learnt of closed ones; and
        # specifications from before there was a context, a `per`, a `worth` or a `width` keep fingerprints
        # and weights.
        left_out: dict[str, Any] = {"guards": True, "costs": True, "fallbacks": True, "open_windows": True}
        # What only rules ask for is not learned from.
        context = [name for name in self.context if name in self._read]
        if not context:
            left_out["context"] = True
        if self.learner is not None:
            left_out["learner"] = {
                name: True for name in ("per", "worth") if getattr(self.learner, name, None) is None
            }
        if isinstance(self.exploration, Thompson) and self.exploration.width == 1.0:
            left_out["exploration"] = {"width": True}
        learned = self.model_copy(update={"context": context})
        text = learned.model_dump_json(by_alias=True, exclude=left_out)
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
            PolicySpecError: the prior or the worth names a column that does not exist, or there are more
                columns than the learner has room for.
        """
        if unknown := sorted(set(self.prior.weights) - set(names)):
            raise PolicySpecError(
                f"{self.id}: prior.weights names the column {unknown[0]!r}, which the features do not make; "
                f"columns: {', '.join(names)}"
            )
        marks = self._marks(names)
        for worth in sorted(self.learner.worths) if self.learner is not None else ():
            self._check_worth(worth, names, marks)
        weights = np.array([self.prior.weights.get(name, 0.0) for name in names])
        if self.learner is not None:
            _check_room(self.id, self.learner.cells(len(names), len(marks)), len(names))
        return Task(names, self.reward.low, self.reward.high, weights, self.prior.intercept, marks)

    def _check_worth(self, worth: str, names: tuple[str, ...], marks: tuple[int, ...]) -> None:
        if worth not in names:
            raise PolicySpecError(
                f"{self.id}: learner.worth names the column {worth!r}, which the features do not make"
                + closest(worth, names)
            )
        if worth in self.prior.weights:
            raise PolicySpecError(
                f"{self.id}: prior.weights names the column {worth!r}, which is what a success is worth and "
                "no weight is learned of; leave it out there"
            )
        if names.index(worth) in marks:
            raise PolicySpecError(
                f"{self.id}: learner.worth names {worth!r}, which tells arms apart; take another"
            )
        if len(names) == 1:
            raise PolicySpecError(f"{self.id}: learner.worth leaves no feature to tell chances by; add one")

    def _marks(self, names: tuple[str, ...]) -> tuple[int, ...]:
        """Return the places of the columns that tell the arms apart which have a model of their own."""
        if self.learner is None or self.learner.marks is None:
            return ()
        prefix = self.learner.marks.removeprefix("arm.") + "="
        products = {name for one in self.features if isinstance(one, Product | Cross) for name in one.names}
        return tuple(
            place for place, name in enumerate(names) if name.startswith(prefix) and name not in products
        )


def _check_room(policy: str, cells: int, columns: int) -> None:
    if cells > _MOST_CELLS:
        raise PolicySpecError(
            f"{policy}: learner: models of {columns} columns keep {cells:,} numbers of how sure they "
            f"are, and {_MOST_CELLS:,} fit; use fewer features, or {{kind: vw}}"
        )


def read_spec(path: Path) -> PolicySpec:
    """Read a policy's specification from a YAML file.

    Raises:
        PolicySpecError: the file is missing, is not YAML, or has an unknown or wrong field.
    """
    try:
        value = load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PolicySpecError(f"{path}: can't be read: {error}") from error
    except yaml.YAMLError as error:
        raise PolicySpecError(f"{path}: not YAML: {said(error)}") from error
    try:
        return PolicySpec.model_validate(value)
    except ValidationError as error:
        problems = [f"  {'.'.join(map(str, e['loc'])) or 'document'}: {e['msg']}" for e in error.errors()]
        raise PolicySpecError(f"{path}: not a policy:\n" + "\n".join(problems)) from error
