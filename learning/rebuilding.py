"""A version rebuilt from the ledger: the same rewards in the same steps, compared with what was published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from learning import change_repository, version_repository
from learning.errors import BrokenWeights, NotRebuilt, VersionGone
from learning.learner import Learnt
from learning.models import ValueModel, model_from_bytes
from learning.open_windows import EARLY
from learning.rows import FloatArray
from learning.training import Start, Training, settled_model
from learning.version_repository import PolicyChange
from learning.versions import PolicyVersion
from storage.engine import Database

# How far predictions may differ, as a share of the bounds of the reward: sums made on another processor are
# rounded otherwise, and VW keeps 32 bits.
TOLERANCE = 1e-6
# Made-up rows that both models predict, beside one for each column.
_PROBES = 64

Verdict = Literal["exact", "within tolerance", "different", "not compared"]


class Rebuilt(msgspec.Struct, frozen=True):
    """What came of it.

    `exact` is to the last bit, `within tolerance` of 1e-6 of the reward's bounds in every prediction that was
    compared; `says` tells why it is anything else. Of `published` decisions `trained` were learnt again.
    """

    version: str
    verdict: Verdict
    largest_difference: float | None
    trained: int
    published: int
    steps: int
    says: list[str]


class _Step(NamedTuple):
    """One training: from which reward to which, on top of nothing or of the step before it."""

    after: int
    through: int
    anew: bool
    corrected: int
    shards: int


def rebuild(database: Database, name: str) -> tuple[PolicyVersion, Rebuilt]:
    """Learn a version again from the ledger; publishes nothing.

    The change facts tell in which steps it was learnt, whatever became of the versions in between.

    Returns:
        The version as it came out, and how it compares.

    Raises:
        UnknownVersion: there is none of that name.
        NotRebuilt: the ledger does not tell how it was learnt, or nothing of it is left to learn from.
        UnknownPlan: an arm that was learnt from was never published.
        InvalidRows, LearnerLost, BrokenWeights: as `Training.learn`.
    """
    with database.read() as connection:
        record = version_repository.unweighted(connection, name)
        told = change_repository.publications(connection, record.policy)
        try:
            published: PolicyVersion | None = version_repository.version(connection, name)
            doubt = ""
        except (VersionGone, BrokenWeights) as gone:
            published, doubt = None, f"there is nothing to compare with: {gone}"
    steps = _steps(name, told)
    trained, learnt = _learn(database, record, steps)
    if learnt is None:
        if record.trained:
            raise NotRebuilt(
                f"{name} learnt from {record.trained} decisions, and the ledger has none of them"
            )
        model = record.model
    else:
        model = learnt.model.to_bytes()
    rebuilt = msgspec.structs.replace(
        record,
        model=model,
        state=None if learnt is None else learnt.state,
        trained=trained,
        member=record.member if learnt is None else learnt.member,
    )
    says = [doubt] if doubt else []
    if trained != record.trained:
        says.append(
            f"{record.trained - trained} of {record.trained} decisions are not to be learnt from any more: "
            "they were erased or recalled, or are past their retention"
        )
    if published is not None and (early := published.metrics.get(EARLY)):
        published = msgspec.structs.replace(published, model=_settled(published).to_bytes())
        says.append(
            f"it also learnt of {early:.0f} decisions whose windows were open then; compared is what it "
            "learnt of closed ones"
        )
    verdict, largest = _compared(rebuilt, published)
    if verdict == "different" and trained == record.trained:
        says.append("the same decisions gave other weights: the learner or its numerics have changed since")
    return rebuilt, Rebuilt(name, verdict, largest, trained, record.trained, len(steps), says)


def _steps(name: str, told: Mapping[str, PolicyChange]) -> list[_Step]:
    """Return the trainings that made a version, the first one first.

    What took weights back is no training: it has those of the version before the one it took back.
    """
    steps: list[_Step] = []
    at = _fact(name, told)
    while at.trained:
        parent = None if at.previous is None else _fact(at.previous, told)
        if at.by:
            at = _fact((parent and parent.previous) or "", told)
            continue
        after = 0 if parent is None else parent.through
        steps.append(_Step(after, at.through, at.anew, at.corrected, at.shards))
        if at.anew or parent is None:
            break
        at = parent
    return steps[::-1]


def _fact(name: str, told: Mapping[str, PolicyChange]) -> PolicyChange:
    found = told.get(name)
    if found is None:
        raise NotRebuilt(f"the ledger has no change that published {name or 'what was before'}")
    return found


def _learn(database: Database, record: PolicyVersion, steps: list[_Step]) -> tuple[int, Learnt | None]:
    training = Training(database, record.specification(), record.vocabularies)
    trained, learnt = 0, None
    try:
        for step in steps:
            state = None if learnt is None else learnt.state
            start = Start(0, None, step.corrected) if step.anew else Start(step.after, state)
            for folded in training.folds(start, step.through, shards=step.shards):
                trained += folded.tally.rows
                learnt = folded.learnt
    finally:
        training.close()
    return trained, learnt


def _settled(published: PolicyVersion) -> ValueModel:
    """Return the model of what a version learnt of closed windows alone."""
    spec = published.specification()
    if spec.learner is None:
        return model_from_bytes(published.model)
    learner = spec.learner.start(published.task())
    try:
        return settled_model(learner, published)
    finally:
        learner.close()


def _compared(rebuilt: PolicyVersion, published: PolicyVersion | None) -> tuple[Verdict, float | None]:
    if published is None:
        return "not compared", None
    if rebuilt.model == published.model:
        return "exact", 0.0
    one, other = model_from_bytes(rebuilt.model), model_from_bytes(published.model)
    if one.names != other.names or type(one) is not type(other):
        return "different", None
    largest = _difference(one, other)
    bounds = published.specification().reward
    near = largest <= TOLERANCE * (bounds.high - bounds.low)
    return ("within tolerance" if near else "different"), largest


def _difference(one: ValueModel, other: ValueModel) -> float:
    """Return the largest difference of predictions for each column alone, none, and some of all."""
    columns = len(one.names)
    some = np.random.default_rng(0).random((_PROBES, columns))
    rows: FloatArray = np.vstack([np.zeros((1, columns)), np.eye(columns), some])
    return float(np.abs(one.predict(rows) - other.predict(rows)).max())
