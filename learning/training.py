"""The job `learn`: folds newly matured rewards into the policy in charge and publishes the next version."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from learning import repository, version_repository
from learning.features import FeatureSet
from learning.learner import Learner
from learning.models import model_from_bytes
from learning.plans import Plans
from learning.rewards import Reward
from learning.rows import Rows
from learning.spec import PolicySpec
from learning.versions import PolicyVersion, child, cold_start
from playbooks.decision import Decision
from storage.engine import Database
from storage.faultpoints import reached

FloatArray = NDArray[np.float64]

# Rewards folded at a time, so that memory stays bounded however many wait.
_PAGE = 2_000


@dataclass(frozen=True, slots=True)
class _Example:
    decision: Decision
    value: float


@dataclass(slots=True)
class _Tally:
    """Sums over all rows of one version."""

    rows: int = 0
    rewards: float = 0.0
    errors: float = 0.0
    squares: float = 0.0

    def add(self, rows: Rows, predicted: FloatArray) -> None:
        errors = predicted - rows.targets
        self.rows += len(rows)
        self.rewards += float(rows.targets.sum())
        self.errors += float(errors.sum())
        self.squares += float((errors**2).sum())

    def metrics(self) -> dict[str, float]:
        return {
            "rows": float(self.rows),
            "mean_reward": self.rewards / self.rows,
            "mean_error_before": self.errors / self.rows,
            "rms_error_before": math.sqrt(self.squares / self.rows),
        }


class Training:
    """Owns the learner of one policy and publishes its versions."""

    def __init__(
        self, database: Database, spec: PolicySpec, vocabularies: Mapping[str, Sequence[str]]
    ) -> None:
        """Prepare to train the policy of `spec`; `vocabularies` are names by arm attribute.

        Raises:
            PolicySpecError: features and vocabularies or prior do not fit together.
        """
        self._database = database
        self._spec = spec
        self._vocabularies = vocabularies
        self._features = FeatureSet(spec.features, vocabularies)
        task = spec.task(self._features.names)
        # None: the policy draws by fixed shares and has nothing to learn.
        self.learner: Learner | None = spec.learner.start(task) if spec.learner is not None else None
        self._plans = Plans(database)

    def in_charge(self, now: datetime) -> PolicyVersion:
        """Return the version in charge; publish one that serves the prior when there is none to go on from.

        A changed specification or vocabulary starts anew from its prior, since weights of other columns
        mean nothing, and learns from all rewards there are.
        """
        with self._database.read() as connection:
            latest = version_repository.latest_version(connection, self._spec.id)
            number = version_repository.next_number(connection, self._spec.id)
        if latest is not None and self._continues(latest):
            return latest
        first = cold_start(self._spec, self._vocabularies, now, after=latest).numbered(number)
        self._database.write(lambda c: version_repository.insert_version(c, first, now), rows=2)
        return first

    def learn(self, now: datetime) -> PolicyVersion:
        """Learn from the rewards that matured since the version in charge and publish what comes out.

        Deterministic: equal rewards and decisions give equal weights. Whatever goes wrong, the version in
        charge stays and the rewards are learnt at the next call.

        Returns:
            The version in charge now: the last one before when nothing new matured or the policy is fixed.

        Raises:
            InvalidRows: a reward lies outside the bounds of the specification.
            LearnerLost: the learner's process can't be kept alive.
            BrokenWeights: what was learnt is not finite; nothing was published.
            VersionTaken: somebody else published meanwhile.
        """
        version = self.in_charge(now)
        if self.learner is None:
            return version
        # Known before anything is learnt, so that whoever publishes meanwhile is noticed.
        with self._database.read() as connection:
            number = version_repository.next_number(connection, self._spec.id)
        before = model_from_bytes(version.model)
        position, state, learnt, tally = version.through, version.state, None, _Tally()
        while matured := self._matured(position):
            position = matured[-1][0]
            examples = self._examples(matured)
            if not examples:
                continue
            rows = self._rows(examples)
            # The rows are new to the model in charge, so its error on them is an honest one.
            tally.add(rows, before.predict(rows.matrix))
            learnt = self.learner.fold(state, rows)
            state = learnt.state
        if learnt is None:
            return version
        following = child(
            version, learnt, rows=tally.rows, through=position, metrics=tally.metrics(), now=now
        ).numbered(number)
        reached("learn.folded")
        self._database.write(lambda c: version_repository.insert_version(c, following, now), rows=2)
        reached("learn.published")
        return following

    def close(self) -> None:
        """Let go of the learner's process."""
        if self.learner is not None:
            self.learner.close()

    def _continues(self, version: PolicyVersion) -> bool:
        vocabularies = {key: list(names) for key, names in self._vocabularies.items()}
        return version.spec_hash == self._spec.fingerprint and version.vocabularies == vocabularies

    def _matured(self, position: int) -> list[tuple[int, str, Reward]]:
        with self._database.read() as connection:
            return repository.rewards_after(connection, position, limit=_PAGE)

    def _examples(self, matured: Sequence[tuple[int, str, Reward]]) -> list[_Example]:
        with self._database.read() as connection:
            decisions = repository.decisions(
                connection, [reward.decision_id for _, _, reward in matured if reward.acts]
            )
        examples = []
        for _, _, reward in matured:
            decision = decisions.get(reward.decision_id)
            if decision is None or not _teaches(decision) or decision.placement not in self._spec.placements:
                continue
            examples.append(_Example(decision, reward.value))
        # By what happened, not by ids, which are drawn at random.
        examples.sort(
            key=lambda one: (one.decision.decided_at, one.decision.user_id, one.decision.decision_id)
        )
        return examples

    def _rows(self, examples: Sequence[_Example]) -> Rows:
        matrix = np.empty((len(examples), len(self._features.names)))
        for row, example in enumerate(examples):
            arm = self._plans.chosen(example.decision)
            matrix[row] = self._features.matrix(example.decision.features, [arm])[0]
        return Rows(
            matrix=matrix,
            targets=np.array([example.value for example in examples]),
            propensities=np.array([example.decision.propensity for example in examples]),
            importance=np.ones(len(examples)),
        )


def _teaches(decision: Decision) -> bool:
    """Whether the policy can learn from a decision: it was drawn by a policy, and something was delivered.

    Control decisions are for measuring alone.
    """
    return decision.acts and decision.fallback is None and not decision.holdout
