"""A trained version as a candidate of an evaluation on a log from elsewhere."""

from __future__ import annotations

from pathlib import Path

from learning.errors import UnknownCandidate
from learning.evaluation import Candidate, Log
from learning.offline.reading import read_rounds
from learning.offline.rounds import ACTION
from learning.offline.train import vectors_of
from learning.versions import PolicyVersion


def trained_candidate(version: PolicyVersion, path: Path, log: Log) -> Candidate:
    """Return what a version would have done in the rounds of a log, which lies at `path`.

    Judge it on rounds that it was not trained on: a file does not tell which those are.

    Raises:
        UnknownCandidate: it does not know the log's actions.
        UnreadableLog: the log has no contexts that a version could read, or texts among them.
        PolicySpecError: its features read what the log has not.
    """
    rounds = read_rounds(path)
    rounds.feature_set(version.specification())
    known = version.vocabularies.get(ACTION, ())
    if strange := sorted(set(log.actions) - set(known)):
        raise UnknownCandidate(
            f"{version.version} was not trained on the action {strange[0]!r}, which the log took; it knows "
            f"{', '.join(known) or 'none'}"
        )
    vectors = vectors_of(version, rounds)
    return Candidate(version.version, log.at_actions(vectors), vectors)
