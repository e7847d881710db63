"""What exploration starts from: what each arm is worth to a user, and how surely."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from playbooks.decision import Decision
from playbooks.policy import FloatArray, Stakes


def stakes_of(decision: Decision, scores: FloatArray, deviations: FloatArray | None) -> Stakes:
    """Return what exploration starts from in a recorded decision, had its scores been these."""
    asked = decision.seed, decision.user_id, decision.placement, decision.request_key
    weights = np.array(decision.weights)
    costs = np.array(decision.costs) if decision.costs else None
    values, spread = worth(scores, weights, costs), spread_of(deviations, weights)
    return narrow(stakes_for(decision.arms, values, spread, asked), decision.narrowed)


def narrow(stakes: Stakes, playbooks: Sequence[str]) -> Stakes:
    """Return stakes of which only what these playbooks have, whose exploration budget is spent, is marked."""
    if not playbooks:
        return stakes
    owners = [arm.partition("/")[0] for arm in stakes.arms]
    # Doing nothing explores at the expense of whose arm is best.
    owners[-1] = owners[int(stakes.values[:-1].argmax())]
    return stakes._replace(narrowed=[place for place, owner in enumerate(owners) if owner in playbooks])


def worth(scores: FloatArray, weights: FloatArray, costs: FloatArray | None) -> FloatArray:
    """Return what each arm is worth: score × the operator's lever, less what it costs."""
    return scores * weights if costs is None else scores * weights - costs


def spread_of(deviations: FloatArray | None, weights: FloatArray) -> FloatArray | None:
    """Return the standard deviation of what each arm is worth, None where the policy tells none."""
    return None if deviations is None else deviations * weights


def stakes_for(
    arms: Sequence[str],
    values: FloatArray,
    deviations: FloatArray | None,
    request: tuple[str, str, str, str],
) -> Stakes:
    """Return what exploration starts from, "do nothing" (surely 0) last."""
    spread = None if deviations is None else _and_nothing(deviations)
    return Stakes(arms, _and_nothing(values), spread, request)


def _and_nothing(values: FloatArray) -> FloatArray:
    found = np.zeros(len(values) + 1)
    found[:-1] = values
    return found
