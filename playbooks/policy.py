"""The port through which matching asks a policy; learning/ implements it, decision/ wires it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from playbooks.models import Arm

FloatArray = NDArray[np.float64]


class Stakes(NamedTuple):
    """What exploration makes a probability vector of, "do nothing" last everywhere.

    `arms` are k ids, `values` (k,) what each is worth after weights and costs. `deviations` (k,) say how
    uncertain each value is, None when the policy does not use it. `request` names the request (seed, user,
    placement, request key): a policy that draws at random derives its draws from it and from nothing else.
    `narrowed` are the places of arms that may get no more than the policy's floor unless they are the best,
    because exploring has cost their playbook enough today.
    """

    arms: Sequence[str]
    values: FloatArray
    deviations: FloatArray | None
    request: tuple[str, str, str, str]
    narrowed: Sequence[int] = ()


class StakesOfMany(NamedTuple):
    """What exploration makes vectors of for n requests that have the same arms (see `Stakes`).

    `values` and `deviations` are (n, k); of nobody is anything narrowed.
    """

    arms: Sequence[str]
    values: FloatArray
    deviations: FloatArray | None
    requests: Sequence[tuple[str, str, str, str]]

    def each(self) -> Iterator[Stakes]:
        """Yield the stakes of each request."""
        for place, request in enumerate(self.requests):
            deviations = None if self.deviations is None else self.deviations[place]
            yield Stakes(self.arms, self.values[place], deviations, request)


class Policy(Protocol):
    """Value model and exploration of one version. Its methods are pure and thread-safe."""

    @property
    def version(self) -> str:
        """Name of this immutable version; the decision log carries it."""
        ...

    @property
    def inputs(self) -> frozenset[str]:
        """Names of the user's features that `score` reads: what a decision has to record, and no more."""
        ...

    def score(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray:
        """Return each arm's expected reward for a user with these features, shape (len(arms),), finite."""
        ...

    def deviations(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray | None:
        """Return the standard deviation of each arm's score, shape (len(arms),), finite and not negative.

        None when the exploration has no use for it; then nothing of it is recorded.
        """
        ...

    def explore(self, stakes: Stakes) -> FloatArray:
        """Turn k values into probabilities, shape (k,), that sum to 1; equal stakes give equal vectors."""
        ...


@runtime_checkable
class PolicyForMany(Policy, Protocol):
    """A policy that can be asked for many users at once; of each it says what it says of them alone.

    Scores and deviations may differ from those of one user by rounding, vectors of equal stakes not at all.
    """

    def score_many(
        self, features: Mapping[str, Sequence[Any]], users: int, arms: Sequence[Arm]
    ) -> FloatArray:
        """Return expected rewards, shape (users, len(arms)); `features` are each user's values by name."""
        ...

    def deviations_many(
        self, features: Mapping[str, Sequence[Any]], users: int, arms: Sequence[Arm]
    ) -> FloatArray | None:
        """Return the deviation of each score, shape (users, len(arms)), or None (see `deviations`)."""
        ...

    def explore_many(self, stakes: StakesOfMany) -> FloatArray:
        """Turn values into probabilities, shape (n, k), each row summing to 1."""
        ...
