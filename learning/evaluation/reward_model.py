"""A reward model for logs that come without one: a ridge regression for each action, cross-fitted."""

from __future__ import annotations

import numpy as np

from learning.evaluation.log import Log
from learning.evaluation.rounds import FloatArray

# Parts of the cross-fitting: each is predicted by a model that was fitted on the others.
_FOLDS = 5
# Rows that the pull towards the mean of all rewards is worth.
_RIDGE = 5.0


def predictions(log: Log) -> FloatArray:
    """Return predicted rewards of every action in every round, shape (n, k), none from the round itself.

    For each action, reward = mean + [1, context] · b with a ridge on b; an action that a fold has not seen is
    predicted the mean. All rounds of a user are in one fold. Deterministic.
    """
    n, k = len(log), len(log.actions)
    folds = (np.arange(n) if log.owners is None else log.owners) % _FOLDS
    rows = _rows(log)
    predicted = np.empty((n, k))
    for fold in range(_FOLDS):
        test, train = folds == fold, folds != fold
        if not train.any():
            # One user, who can't be predicted by others.
            predicted[test] = (log.low + log.high) / 2
            continue
        mean = float(log.rewards[train].mean())
        for action in range(k):
            of_action = train & (log.action == action)
            x, y = rows[of_action], log.rewards[of_action] - mean
            weights = np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ y)
            predicted[test, action] = mean + rows[test] @ weights
    return np.clip(predicted, log.low, log.high)


def _rows(log: Log) -> FloatArray:
    """Return the context, each column of mean 0 and deviation 1, with a column of ones before it."""
    ones = np.ones((len(log), 1))
    if log.context is None or log.context.shape[1] == 0:
        return ones
    spread = log.context.std(axis=0)
    scaled = (log.context - log.context.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return np.hstack([ones, scaled])
