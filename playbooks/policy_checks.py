"""What a policy gives is checked before anything is drawn from it."""

from __future__ import annotations

import math

import numpy as np

from playbooks.errors import PolicyBroken
from playbooks.policy import FloatArray, Policy

# How far a vector's sum may be from 1: rounding of 256 additions of doubles, with room to spare.
_SUM_TOLERANCE = 1e-9


def check_scores(policy: Policy, scores: FloatArray, arms: int) -> None:
    """Make sure that a policy gave one finite number for each arm.

    Raises:
        PolicyBroken: it did not.
    """
    if scores.shape != (arms,) or not np.isfinite(scores).all():
        raise PolicyBroken(f"policy {policy.version} gave scores that are not {arms} finite numbers")


def check_vector(policy: Policy, probabilities: FloatArray, arms: int) -> None:
    """Make sure that a policy gave a distribution over the arms.

    Raises:
        PolicyBroken: it did not.
    """
    total = math.fsum(probabilities.tolist())
    if probabilities.shape != (arms,) or not (probabilities >= 0).all() or abs(total - 1) > _SUM_TOLERANCE:
        raise PolicyBroken(
            f"policy {policy.version} gave no distribution over {arms} arms (the vector's sum is {total})"
        )


def check_scores_of_many(policy: Policy, scores: FloatArray, users: int, arms: int) -> None:
    """Make sure that a policy gave one finite number for each user and arm.

    Raises:
        PolicyBroken: it did not.
    """
    if scores.shape != (users, arms) or not np.isfinite(scores).all():
        raise PolicyBroken(
            f"policy {policy.version} gave scores that are not {users} × {arms} finite numbers"
        )


def check_vectors(policy: Policy, probabilities: FloatArray, users: int, arms: int) -> None:
    """Make sure that a policy gave each user a distribution over the arms.

    Raises:
        PolicyBroken: it did not.
    """
    whole = probabilities.shape == (users, arms) and bool((probabilities >= 0).all())
    if not whole or not (np.abs(probabilities.sum(axis=1) - 1) <= _SUM_TOLERANCE).all():
        raise PolicyBroken(f"policy {policy.version} gave {users} users no distributions over {arms} arms")
