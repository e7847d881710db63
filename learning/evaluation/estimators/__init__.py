"""Off-policy estimators: the value a candidate policy would have had, from what another policy logged. Pure.

Each takes the rounds as the candidate sees them and returns their `Terms`; the estimate is `terms.value`.
Values agree with Open Bandit Pipeline 0.5.7 (tests/golden) to 1e-9.

>>> import numpy as np
>>> from learning.evaluation.rounds import Weighed
>>> rng = np.random.default_rng(7)
>>> weights = rng.gamma(2.0, 0.5, 1000)
>>> rewards = (rng.random(1000) < 0.3).astype(float)
>>> model = np.full(1000, 0.3)
>>> rounds = Weighed(rewards, weights, q_chosen=model, q_candidate=model)
>>> {name: round(ESTIMATORS[name].terms(rounds).value, 4) for name in ("ips", "snips", "dr", "dm")}
{'ips': 0.2739, 'snips': 0.2908, 'dr': 0.2913, 'dm': 0.3}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from audiences.rules.source import closest
from learning.errors import UnknownEstimator
from learning.evaluation.estimators.direct_method import DIRECT_METHOD
from learning.evaluation.estimators.doubly_robust import DOUBLY_ROBUST, SELF_NORMALISED_DOUBLY_ROBUST
from learning.evaluation.estimators.estimator import Estimator
from learning.evaluation.estimators.ips import CLIPPED_IPS, IPS
from learning.evaluation.estimators.replay import REPLAY
from learning.evaluation.estimators.shrinkage import OPTIMISTIC_SHRINKAGE
from learning.evaluation.estimators.snips import SNIPS
from learning.evaluation.estimators.sub_gaussian import SUB_GAUSSIAN_DR, SUB_GAUSSIAN_IPS
from learning.evaluation.estimators.switch import SWITCH_DOUBLY_ROBUST

__all__ = ["ALL", "ESTIMATORS", "Estimator", "chosen"]

ALL = "all"
ESTIMATORS: Mapping[str, Estimator] = {
    one.name: one
    for one in (
        REPLAY,
        DIRECT_METHOD,
        IPS,
        CLIPPED_IPS,
        SNIPS,
        SUB_GAUSSIAN_IPS,
        DOUBLY_ROBUST,
        SELF_NORMALISED_DOUBLY_ROBUST,
        SWITCH_DOUBLY_ROBUST,
        OPTIMISTIC_SHRINKAGE,
        SUB_GAUSSIAN_DR,
    )
}


def chosen(names: Sequence[str]) -> list[Estimator]:
    """Return the estimators of these names, each once and in the registry's order; `all` names every one.

    A name may set its parameter: `switch_dr=8`.

    Raises:
        UnknownEstimator: there is none of this name, or it has no parameter or not such a one.
    """
    asked: dict[str, Estimator] = {}
    for text in names:
        name, equals, value = text.partition("=")
        name = name.strip()
        if name == ALL and not equals:
            asked = {**ESTIMATORS, **asked}
            continue
        if name not in ESTIMATORS:
            raise UnknownEstimator(
                f"there is no estimator {name!r}; {closest(name, list(ESTIMATORS)) or ''} there are "
                f"{', '.join(ESTIMATORS)}, or {ALL}"
            )
        one = ESTIMATORS[name]
        asked[name] = one.having(value.strip()) if equals else one
    if not asked:
        raise UnknownEstimator(f"name at least one estimator of {', '.join(ESTIMATORS)}, or {ALL}")
    return [asked[name] for name in ESTIMATORS if name in asked]
