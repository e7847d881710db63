"""What a policy has to do before it may serve: give finite scores and a proper vector, whoever asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from learning.errors import BrokenWeights, LearningError
from learning.policy import LearnedPolicy
from playbooks.errors import PolicyBroken
from playbooks.models import DO_NOTHING, Arm
from playbooks.policy import Stakes
from playbooks.policy_checks import check_scores, check_vector

# How many arms compete: none, one, a few, and as many as a benchmarked decision has.
_CONTESTS = (0, 1, 3, 40)
# A user of whom nothing is known, one whose every number is this, and so on.
_NUMBERS = (None, 0.0, 1.0, 1e9)


def probe(policy: LearnedPolicy, vocabularies: Mapping[str, Sequence[str]]) -> None:
    """Ask a policy about made-up users and arms.

    Raises:
        BrokenWeights: it fails, its scores are not finite, or its vector does not sum to 1; what is wrong.
    """
    for number in _NUMBERS:
        for size in _CONTESTS:
            arms = [_arm(place, vocabularies) for place in range(size)]
            try:
                _ask(policy, dict.fromkeys(policy.inputs, number), arms)
            except (LearningError, PolicyBroken) as error:
                raise BrokenWeights(f"{policy.version} can't serve: {error}") from error


def _ask(policy: LearnedPolicy, values: Mapping[str, float | None], arms: Sequence[Arm]) -> None:
    features = policy.filled(values)
    scores = policy.score(features, arms)
    check_scores(policy, scores, len(arms))
    deviations = policy.deviations(features, arms)
    if deviations is not None:
        check_scores(policy, deviations, len(arms))
        deviations = np.append(deviations, 0.0)
    ids = [*(arm.id for arm in arms), DO_NOTHING]
    stakes = Stakes(ids, np.append(scores, 0.0), deviations, ("probe", "probe", "probe", "probe"))
    check_vector(policy, policy.explore(stakes), len(ids))


def _arm(place: int, vocabularies: Mapping[str, Sequence[str]]) -> Arm:
    attributes = {name: words[place % len(words)] for name, words in vocabularies.items() if words}
    return Arm(f"probe/{place}", "probe", f"o{place}", "probe", "probe", attributes)
