"""Models of a race: each expects a reward of every arm, and says how sure it is.

All learn from the same rounds, whoever drew them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from learning.models import LogisticGaussian
from learning.simulation.basis import Basis, Part, Scaling
from learning.simulation.player import FloatArray, Setting, best
from learning.simulation.posteriors import Posteriors
from learning.simulation.rows import Rows

# The deviation of a reward in [0, 1] about its expectation that models reckon with.
_NOISE = 0.3
# Random Fourier frequencies of each kernel; with cosine and sine twice as many features.
_FREQUENCIES = 64
# Of the Gaussian kernels, where a usual row has length 1.
_WIDTH = 0.7
# Deviations of what is expected beforehand: of each kernel, of what is linear beside them, of the constant;
# and of the linear model, where both are one.
_KERNEL, _BESIDE, _CONSTANT = 0.64, 0.5, 0.3
_LINEAR = 0.67
_RIDGE = 1.0


class Member(Protocol):
    """Asked and told once each round; rewards are shares of their bounds."""

    def expect(self, context: FloatArray) -> FloatArray:
        """Return what each arm is expected to earn, shape (d,) → (k,)."""
        ...

    def unsure(self, context: FloatArray) -> FloatArray:
        """Return the deviation of each expectation, of the context that was last asked for."""
        ...

    def learn(self, context: FloatArray, action: int, reward: float) -> None:
        """Take in one round."""
        ...


class ByArm:
    """A Gaussian posterior of each arm over features of the context.

    Columns are scaled by the rows seen so far. Whenever these have grown by a fifth they are scaled anew, and
    all rows learnt again; in between each row is one step.
    """

    def __init__(self, setting: Setting, parts: Sequence[Part], constant: float) -> None:
        self._arms = setting.arms
        self._parts = parts
        self._constant = constant
        self._seen = Rows(setting.columns)
        self._basis: Basis | None = None
        self._posteriors: Posteriors | None = None
        self._row = np.zeros(0)

    def expect(self, context: FloatArray) -> FloatArray:
        if self._seen.grown():
            self._scale()
        if self._basis is None or self._posteriors is None:
            return np.zeros(self._arms)
        self._row = self._basis.features(context[None, :])[0]
        return self._posteriors.means(self._row)

    def unsure(self, context: FloatArray) -> FloatArray:
        if self._posteriors is None:
            return np.ones(self._arms)
        return self._posteriors.deviations(self._row)

    def learn(self, context: FloatArray, action: int, reward: float) -> None:
        self._seen.add(context, action, reward)
        if self._posteriors is not None:
            self._posteriors.learn(self._row, action, reward)

    def _scale(self) -> None:
        contexts = self._seen.contexts
        self._basis = Basis.of(contexts, self._parts, self._constant)
        features = self._basis.features(contexts)
        self._posteriors = Posteriors(self._arms, features.shape[1], _NOISE)
        self._posteriors.learn_all(features, self._seen.actions, self._seen.rewards)


def linear(setting: Setting) -> Member:
    """Bayesian ridge regression of each arm on the context, every column in its own unit."""
    return ByArm(setting, [Part("each", None, _LINEAR)], _LINEAR)


def kernel(setting: Setting) -> Member:
    """The sum of two Gaussian kernels, on columns in own units and in a common one, and of a linear part."""
    rng = np.random.default_rng([setting.seed, _FREQUENCIES])
    own, common = (_WIDTH * rng.normal(size=(setting.columns, _FREQUENCIES)) for _ in range(2))
    parts = [Part("each", own, _KERNEL), Part("common", common, _KERNEL), Part("each", None, _BESIDE)]
    return ByArm(setting, parts, _CONSTANT)


class Logistic:
    """Logistic regression of each arm (`learning/models/logistic_gaussian.py`) on scaled columns."""

    def __init__(self, setting: Setting) -> None:
        self._arms = setting.arms
        names = tuple(map(str, range(setting.columns)))
        self._prior = LogisticGaussian.prior(names, low=0.0, high=1.0, ridge=_RIDGE)
        self._models = [self._prior] * setting.arms
        self._seen = Rows(setting.columns)
        self._scaling: Scaling | None = None

    def expect(self, context: FloatArray) -> FloatArray:
        if self._seen.grown():
            self._scale()
        if self._scaling is None:
            return np.full(self._arms, 0.5)
        row = self._row(context)
        return np.array([model.predict(row)[0] for model in self._models])

    def unsure(self, context: FloatArray) -> FloatArray:
        if self._scaling is None:
            return np.full(self._arms, 0.5)
        row = self._row(context)
        return np.array([model.deviation(row)[0] for model in self._models])

    def learn(self, context: FloatArray, action: int, reward: float) -> None:
        self._seen.add(context, action, reward)
        if self._scaling is not None:
            self._models[action] = self._models[action].learn(self._row(context), np.array([reward]))

    def _row(self, context: FloatArray) -> FloatArray:
        assert self._scaling is not None  # noqa: S101 - asked for by those who know
        return self._scaling.apply(context[None, :])

    def _scale(self) -> None:
        self._scaling = Scaling.of(self._seen.contexts, "each")
        rows = self._scaling.apply(self._seen.contexts)
        for arm in range(self._arms):
            own = self._seen.actions == arm
            self._models[arm] = self._prior.learn(rows[own], self._seen.rewards[own])


class Average:
    """The mean reward of each arm, whatever is known of the round; a Beta prior of one success in two."""

    def __init__(self, setting: Setting) -> None:
        self._sums = np.full(setting.arms, 1.0)
        self._counts = np.full(setting.arms, 2.0)

    def expect(self, context: FloatArray) -> FloatArray:
        means: FloatArray = self._sums / self._counts
        return means

    def unsure(self, context: FloatArray) -> FloatArray:
        mean = self._sums / self._counts
        deviations: FloatArray = np.sqrt(mean * (1 - mean) / (self._counts + 1))
        return deviations

    def learn(self, context: FloatArray, action: int, reward: float) -> None:
        self._sums[action] += reward
        self._counts[action] += 1.0


class Alone:
    """A member that plays by itself: the arm that is best within a deviation of what it expects.

    Upper confidence bounds: Li et al., "A Contextual-Bandit Approach to Personalized News Article
    Recommendation" (WWW 2010); with kernels Srinivas et al., "Gaussian Process Optimization in the Bandit
    Setting" (ICML 2010).
    """

    def __init__(self, setting: Setting, member: Member) -> None:
        self._setting = setting
        self._member = member

    def vector(self, context: FloatArray) -> FloatArray:
        return best(hopes(self._member, context))

    def learn(self, context: FloatArray, action: int, reward: float, vector: FloatArray) -> None:
        self._member.learn(context, action, self._setting.share(reward))


def hopes(member: Member, context: FloatArray) -> FloatArray:
    """Return what each arm may well earn: a deviation more than is expected."""
    return member.expect(context) + member.unsure(context)
