"""The kinds of exploration that a policy's specification can name, each one class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from learning.errors import InvalidScores
from learning.exploration import FloatArray, epsilon_greedy, inverse_gap_weighting, softmax
from learning.posterior_draws import thompson
from playbooks.draws import digest_of
from playbooks.models import DO_NOTHING
from playbooks.policy import Stakes, StakesOfMany

ArmId = Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9_]{0,63}/[a-z0-9][a-z0-9_]{0,63}|do_nothing)$")]
Share = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_PURPOSE = b"thompson"


class _Kind(BaseModel, ABC):
    """`learns`: it explores by what a value model says; `uncertain`: by the model's posterior too."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    learns: ClassVar[bool] = True
    uncertain: ClassVar[bool] = False

    def mass(self, trained: int) -> float:
        """Return the total mass in [0, 1] that is spread evenly over all arms, whatever they are worth."""
        return 0.0

    @abstractmethod
    def vector(self, stakes: Stakes, trained: int) -> FloatArray:
        """Return the probabilities of one request's arms, shape (k,)."""

    def vectors(self, stakes: StakesOfMany, trained: int) -> FloatArray:
        """Return the probabilities of many requests' arms, shape (n, k): of each the vector of it alone."""
        return np.array([self.vector(one, trained) for one in stakes.each()])


class Decay(BaseModel):
    """max(floor, start × 2^(−trained / half_life)), `trained` being the decisions learnt from so far."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: float = Field(ge=0, le=1)
    floor: float = Field(ge=0, le=1)
    half_life: float = Field(gt=0, allow_inf_nan=False)

    def at(self, trained: int) -> float:
        decayed: float = self.start * 2.0 ** (-trained / self.half_life)
        return max(self.floor, decayed)


class EpsilonGreedy(_Kind):
    """All but epsilon to the best arm, epsilon spread over all."""

    kind: Literal["epsilon_greedy"]
    epsilon: Decay

    def mass(self, trained: int) -> float:
        return self.epsilon.at(trained)

    def vector(self, stakes: Stakes, trained: int) -> FloatArray:
        return epsilon_greedy(stakes.values, self.epsilon.at(trained))

    def vectors(self, stakes: StakesOfMany, trained: int) -> FloatArray:
        return epsilon_greedy(stakes.values, self.epsilon.at(trained))


class Softmax(_Kind):
    """Shares in proportion to exp(value / temperature)."""

    kind: Literal["softmax"]
    temperature: float = Field(gt=0, allow_inf_nan=False)
    floor: Decay

    def mass(self, trained: int) -> float:
        return self.floor.at(trained)

    def vector(self, stakes: Stakes, trained: int) -> FloatArray:
        return softmax(stakes.values, self.temperature, self.floor.at(trained))

    def vectors(self, stakes: StakesOfMany, trained: int) -> FloatArray:
        return softmax(stakes.values, self.temperature, self.floor.at(trained))


class InverseGap(_Kind):
    """Inverse-gap weighting (SquareCB): the less, the further below the best."""

    kind: Literal["inverse_gap"]
    gamma: float = Field(gt=0, allow_inf_nan=False)
    floor: Decay

    def mass(self, trained: int) -> float:
        return self.floor.at(trained)

    def vector(self, stakes: Stakes, trained: int) -> FloatArray:
        return inverse_gap_weighting(stakes.values, self.gamma, self.floor.at(trained))

    def vectors(self, stakes: StakesOfMany, trained: int) -> FloatArray:
        return inverse_gap_weighting(stakes.values, self.gamma, self.floor.at(trained))


class Thompson(_Kind):
    """How often each arm is best in `draws` posterior draws; needs a learner that has a posterior.

    Deviations count `width` times: below 1 it explores less than the posterior says.
    """

    uncertain: ClassVar[bool] = True

    kind: Literal["thompson"]
    draws: int = Field(default=500, ge=100, le=2000)
    width: float = Field(default=1.0, gt=0, le=10)
    floor: Decay

    def mass(self, trained: int) -> float:
        return self.floor.at(trained)

    def vector(self, stakes: Stakes, trained: int) -> FloatArray:
        if stakes.deviations is None:
            raise InvalidScores("thompson needs the deviation of each score, and the record has none")
        seed = digest_of(stakes.request, 16, _PURPOSE)
        return thompson(
            stakes.values, self.width * stakes.deviations, self.draws, seed, self.floor.at(trained)
        )


class FixedSplit(_Kind):
    """Arms in proportion to stated shares, whatever they earn; one without a share is never drawn.

    Shares of arms that are not eligible go to the others in proportion; if none is, nothing is done.
    """

    learns: ClassVar[bool] = False

    kind: Literal["fixed_split"]
    shares: dict[ArmId, Share] = Field(min_length=1, max_length=256)

    def vector(self, stakes: Stakes, trained: int) -> FloatArray:
        return _split(stakes, self.shares)

    @property
    def names(self) -> list[str]:
        """The arms that can be drawn."""
        return list(self.shares)


class Single(_Kind):
    """Always one variant where it is eligible, nothing elsewhere."""

    learns: ClassVar[bool] = False

    kind: Literal["single"]
    variant: ArmId

    def vector(self, stakes: Stakes, trained: int) -> FloatArray:
        return _split(stakes, {self.variant: 1.0})

    @property
    def names(self) -> list[str]:
        """The arm that can be drawn."""
        return [self.variant]


ExplorationKind = Annotated[
    EpsilonGreedy | Softmax | InverseGap | Thompson | FixedSplit | Single, Field(discriminator="kind")
]


def _split(stakes: Stakes, shares: dict[str, float]) -> FloatArray:
    vector = np.array([shares.get(arm, 0.0) for arm in stakes.arms])
    largest = vector.max()
    if largest == 0:
        vector = np.array([float(arm == DO_NOTHING) for arm in stakes.arms])
    else:
        # Before the sum, which could overflow.
        vector /= largest
    split: FloatArray = vector / vector.sum()
    return split
