"""Train a policy on a service's own ledger, and judge it on the rewards that came later."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime

import numpy as np

from learning import lesson_repository, version_repository
from learning.errors import InvalidRounds, PolicySpecError
from learning.evaluation import evaluate
from learning.features import FeatureSet
from learning.lessons import Lessons
from learning.models import model_from_bytes
from learning.offline.train import FEWEST, HOW, Judged, Trained
from learning.rounds import see_again
from learning.rows import Rows
from learning.shards import InProcesses
from learning.spec import PolicySpec
from learning.tally import Tally
from learning.training import Start, Training
from learning.versions import PolicyVersion, child, cold_start
from storage.engine import Database


def train_on_ledger(
    database: Database, spec: PolicySpec, now: datetime, *, held_out: float = 0.3, processes: int = 1
) -> Trained:
    """Train a policy on the earlier rewards of a ledger, and judge it on the decisions of the later ones.

    Vocabularies are those of the version that was published last. Nothing is written. Deterministic.

    Args:
        held_out: the share of rewards that is judged on, in (0, 1).
        processes: that learn at a time, where models merge.

    Raises:
        PolicySpecError: the specification learns nothing, or its features do not fit the vocabularies.
        InvalidRounds: too few rewards, or none of the policy's placements on one of both sides.
        InvalidRows, LearnerLost, BrokenWeights: as `Training.learn`.
    """
    if spec.learner is None:
        raise PolicySpecError(
            f"{spec.id}: exploration.kind {spec.exploration.kind} learns nothing; there is nothing to train"
        )
    with database.read() as connection:
        vocabularies = version_repository.newest_vocabularies(connection)
        seqs = lesson_repository.rewards_since(connection, 0, None)
    if len(seqs) < FEWEST:
        raise InvalidRounds(
            f"{len(seqs)} rewards are too few to learn from some and judge on others; {FEWEST} are needed"
        )
    until = seqs[min(len(seqs) - 2, max(0, math.ceil(len(seqs) * (1 - held_out)) - 1))]
    start = cold_start(spec, vocabularies, now, after=None)
    sharing = InProcesses(processes) if processes > 1 else None
    training = Training(database, spec, vocabularies, sharing=sharing)
    tally, learnt = Tally(), None
    try:
        for folded in training.folds(Start(0, None), until):
            tally.take(folded.tally)
            learnt = folded.learnt
    finally:
        training.close()
    if learnt is None:
        raise InvalidRounds(
            f"no reward up to {until} is of a decision that a policy drew at {', '.join(spec.placements)}"
        )
    version = child(start, learnt, trained=tally.rows, through=until, metrics={}, now=now)
    later = list(_later(database, version, until))
    return Trained(version, tally.rows, _judged(database, version, later, tally.earned / tally.rows))


def _later(database: Database, version: PolicyVersion, after: int) -> Iterator[Rows]:
    spec = version.specification()
    lessons = Lessons(database, spec, FeatureSet(spec.features, version.vocabularies))
    for page in lessons.pages(after, None, None):
        rows = lessons.rows(page)
        if len(rows):
            yield rows


def _judged(database: Database, version: PolicyVersion, later: list[Rows], mean: float) -> Judged:
    seen = see_again(database, version, after=version.through)
    found = evaluate(seen.log, seen.candidate, how=HOW)
    estimate = found.estimates["dr"]
    rows = Rows.joined(later)
    errors = model_from_bytes(version.model).predict(rows.matrix) - rows.targets
    return Judged(
        rounds=len(seen.log),
        value=estimate.value,
        interval=estimate.interval,
        logged=float(seen.log.rewards.mean()),
        verdict=found.verdict,
        rms_error=float(np.sqrt((errors**2).mean())),
        constant_error=float(np.sqrt(((mean - rows.targets) ** 2).mean())),
        doubts=list(found.diagnostics.doubts),
    )
