"""Policies to evaluate on a log from elsewhere: what would each have done in its rounds?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiences.rules.source import closest
from learning.errors import UnknownCandidate
from learning.evaluation.log import Log
from learning.evaluation.rounds import FloatArray

LOGGED = "logged"
UNIFORM = "uniform"
ALWAYS = "always:"


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A policy's probability of each round's action, shape (n,), and of every action, (n, k), where known."""

    name: str
    chosen: FloatArray
    dist: FloatArray | None = None


def candidate(log: Log, text: str | None, read: Callable[[Path], FloatArray]) -> Candidate:
    """Return the policy that `text` names.

    None is the log's own `action_dist`. `logged` is the policy that drew the log, `uniform` draws all
    eligible actions alike, `always:ACTION` takes one. Anything else is a file with a column `action_dist`,
    row for row.

    Raises:
        UnknownCandidate: there is none, or it has not a row for each round.
    """
    if text is None:
        if log.action_dist is None:
            raise UnknownCandidate(
                "the log has no column action_dist, so name a policy: logged, uniform, always:ACTION or a "
                "file with a column action_dist (--policy)"
            )
        return Candidate("action_dist", log.at_actions(log.action_dist), log.action_dist)
    if text == LOGGED:
        return logged(log)
    if text == UNIFORM:
        # Where vectors say what was eligible, uniform is over that.
        eligible = np.ones((len(log), len(log.actions))) if log.logged_dist is None else log.logged_dist > 0
        return _of_dist(log, UNIFORM, eligible / eligible.sum(axis=1, keepdims=True))
    if text.startswith(ALWAYS):
        return _of_dist(log, text, _always(log, text.removeprefix(ALWAYS)))
    path = Path(text)
    if not path.is_file():
        raise UnknownCandidate(
            f"there is no policy and no file {text!r}; {_meant(log, text)}name logged, uniform, "
            "always:ACTION or a file with a column action_dist"
        )
    dist = read(path)
    if dist.shape != (len(log), len(log.actions)):
        raise UnknownCandidate(
            f"{path} has {dist.shape[0]} rows of {dist.shape[1]} probabilities; the log has {len(log)} good "
            f"rounds of {len(log.actions)} actions, which it must fit row for row"
        )
    return _of_dist(log, text, dist)


def logged(log: Log) -> Candidate:
    """Return the policy that drew the log."""
    return Candidate(LOGGED, log.propensities, log.logged_dist)


def _meant(log: Log, text: str) -> str:
    """Return the policy that was probably meant, as the start of a sentence that goes on."""
    if text in log.actions:
        return f'did you mean "{ALWAYS}{text}"? '
    return _then(closest(text, [LOGGED, UNIFORM, *(ALWAYS + one for one in log.actions)]))


def _then(suggestion: str | None) -> str:
    return f"{suggestion} " if suggestion else ""


def _of_dist(log: Log, name: str, dist: FloatArray) -> Candidate:
    return Candidate(name, log.at_actions(dist), dist)


def _always(log: Log, action: str) -> FloatArray:
    if action not in log.actions:
        raise UnknownCandidate(
            f"not evaluable: no support for {action!r}, the log never took it; "
            f"{_then(closest(action, list(log.actions)))}it took {', '.join(log.actions[:20])}"
        )
    dist = np.zeros((len(log), len(log.actions)))
    dist[:, log.actions.index(action)] = 1.0
    return dist
