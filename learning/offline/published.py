"""A version that a service published, as a candidate of an evaluation on a log from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learning import earnings_repository, version_repository
from learning.errors import FeaturesMismatch, InvalidScores, SeenInTraining, UnknownCandidate, UnknownPlan
from learning.evaluation import Candidate, Log
from learning.evaluation.logs import columns_of_rows, decision_log, dsjson
from learning.evaluation.logs.files import columns_of
from learning.evaluation.logs.rounds import contexts_of
from learning.exploration_kinds import FixedSplit, Single
from learning.plans import Plans, Reads
from learning.policy import LearnedPolicy
from learning.versions import PolicyVersion
from playbooks.decision import Decision
from playbooks.models import DO_NOTHING, Arm
from playbooks.policy import StakesOfMany
from playbooks.suggesting import closest
from storage import ledger
from storage.ledger import Kind

FloatArray = NDArray[np.float64]

_VERSION = re.compile(r"[a-z0-9][a-z0-9_]*@[0-9]+")
# Later than anything that was published.
_EVER = datetime(9999, 1, 1, tzinfo=UTC)
# Decisions whose ids are looked up at a time.
_PAGE = 500


def candidate_in_file(database: Reads, name: str, path: Path, log: Log) -> Candidate:
    """Return what a version of `database` would have done in the log at a path (see the next two).

    Raises:
        UnknownCandidate, UnknownVersion, SeenInTraining: as these; also of logs that name no arms.
    """
    if path.is_file() and decision_log.is_export(path):
        return on_decisions(database, name, log, decision_log.decisions(path))
    if path.is_dir() or path.name.lower().endswith(dsjson.SUFFIXES):
        raise UnknownCandidate(
            f"{path} numbers its actions, and {name} knows arms by name: write the log as rounds whose "
            "actions are named playbook/variant, or export decisions as parquet or jsonl"
        )
    return on_rounds(database, name, log, contexts_of(columns_of(path), log))


def candidate_in_rows(database: Reads, name: str, rows: Sequence[Mapping[str, Any]], log: Log) -> Candidate:
    """Return what a version would have done in rounds that were sent as objects (see `on_rounds`)."""
    return on_rounds(database, name, log, contexts_of(columns_of_rows(rows), log))


def names_version(text: str | None) -> bool:
    """Say whether a text is written as versions are named.

    >>> names_version("next_category@7"), names_version("always:7"), names_version(None)
    (True, False, False)
    """
    return text is not None and _VERSION.fullmatch(text) is not None


def on_decisions(
    database: Reads, name: str, log: Log, decisions: Iterable[tuple[int, Decision]]
) -> Candidate:
    """Return what a version would have done in exported decisions of another service.

    Recorded features are scored by the version, weighed by the recorded levers and explored as it would; the
    arms are those of `database`, where the version is.

    Args:
        decisions: those of `log` with their rows, refused ones among them.

    Raises:
        UnknownVersion: there is none of this name.
        SeenInTraining: the decisions are of this very service, and it may have learnt from them.
        UnknownCandidate: a decision names arms or features that the version does not know.
    """
    version = _version(database, name)
    policy, plans = version.serve(), Plans(database)
    places = {arm: place for place, arm in enumerate(log.actions)}
    vectors = np.zeros((len(log), len(log.actions)))
    refused = {one.row for one in log.refused}
    rounds = ((row, one) for row, one in decisions if row not in refused)
    for place, (row, one) in enumerate(_of_others(database, version, rounds)):
        if missing := sorted(policy.reads - one.features.keys()):
            raise UnknownCandidate(
                f"row {row}, features: {name} reads {missing[0]!r}, which the decision did not record"
            )
        try:
            vector = policy.vector_at(one, plans.eligible(one))
        except (UnknownPlan, FeaturesMismatch, InvalidScores) as error:
            raise UnknownCandidate(f"row {row}: {name} can't be asked: {error}") from error
        vectors[place, [places[arm] for arm in one.arms]] = vector
    return Candidate(name, log.at_actions(vectors), vectors)


def on_rounds(database: Reads, name: str, log: Log, contexts: Mapping[str, Sequence[Any]]) -> Candidate:
    """Return what a version would have done in rounds whose actions are arms of the library at `database`.

    It is asked among the log's actions, each as its playbook is served now or was last, without levers of
    operators; what arms cost counts as its specification says.

    Args:
        contexts: features by name, a value for each of the log's rounds.

    Raises:
        UnknownVersion: there is none of this name.
        UnknownCandidate: actions are no arms, or the log lacks a feature that the version reads.
    """
    version = _version(database, name)
    policy = version.serve()
    if missing := sorted(policy.reads - contexts.keys()):
        has = ", ".join(f"context.{one}" for one in contexts) or "no context"
        raise UnknownCandidate(
            f"{name} reads {missing[0]!r}, and the log has no column context.{missing[0]}; it has {has}"
        )
    order = [place for place, action in enumerate(log.actions) if action != DO_NOTHING]
    arms, costs = _arms(database, version, [log.actions[place] for place in order])
    order += [place for place, action in enumerate(log.actions) if action == DO_NOTHING]
    ids = [log.actions[place] for place in order]
    _check_drawn(version, ids)
    vectors = np.zeros((len(log), len(ids)))
    try:
        vectors[:, order] = _vectors(policy, contexts, len(log), arms, costs, ids)
    except (FeaturesMismatch, InvalidScores) as error:
        raise UnknownCandidate(f"{name} can't be asked: {error}") from error
    return Candidate(name, log.at_actions(vectors), vectors)


def _vectors(
    policy: LearnedPolicy,
    contexts: Mapping[str, Sequence[Any]],
    rounds: int,
    arms: Sequence[Arm],
    costs: FloatArray,
    ids: Sequence[str],
) -> FloatArray:
    asked = {feature: contexts[feature] for feature in policy.reads}
    values = np.zeros((rounds, len(ids)))
    values[:, : len(arms)] = policy.score_many(asked, rounds, arms) - costs
    deviations = policy.deviations_many(asked, rounds, arms)
    if deviations is not None:
        deviations = np.hstack([deviations, np.zeros((rounds, len(ids) - len(arms)))])
    requests = [("", str(row), "log", "log") for row in range(rounds)]
    return policy.explore_many(StakesOfMany(ids, values, deviations, requests))


def _version(database: Reads, name: str) -> PolicyVersion:
    with database.read() as connection:
        return version_repository.version(connection, name)


def _of_others(
    database: Reads, version: PolicyVersion, rounds: Iterator[tuple[int, Decision]]
) -> Iterator[tuple[int, Decision]]:
    """Yield the rounds, once none of them is of the service that the version learnt in."""
    while page := list(islice(rounds, _PAGE)):
        if version.trained:
            with database.read() as connection:
                own = ledger.known(connection, [Kind.DECISION], [one.decision_id for _, one in page])
            if own:
                raise SeenInTraining(
                    f"decision {next(iter(own))} is of this very service, and {version.version} may have "
                    "learnt from it: write `ledger` as LOG, which judges it on later rewards"
                )
        yield from page


def _arms(database: Reads, version: PolicyVersion, names: Sequence[str]) -> tuple[list[Arm], FloatArray]:
    """Return the arms of these names, and what giving each costs in units of reward."""
    plans, rates = Plans(database), version.specification().costs
    arms, costs = [], []
    for name in names:
        playbook = name.partition("/")[0]
        with database.read() as connection:
            number = earnings_repository.playbook_version_at(connection, playbook, _EVER)
        try:
            if number is None:
                raise UnknownPlan(f"no playbook {playbook!r} was ever served")
            arm = plans.arm(playbook, number, name)
        except UnknownPlan as error:
            raise UnknownCandidate(
                f"the log took {name!r}, and {version.version} knows arms of its library only: {error}; name "
                f"actions as playbook/variant, or {DO_NOTHING}"
            ) from error
        arms.append(arm)
        counted = plans.goal(playbook, number).cost is None
        costs.append(rates.get(arm.currency, 0.0) * arm.cost if counted else 0.0)
    return arms, np.array(costs)


def _check_drawn(version: PolicyVersion, actions: Sequence[str]) -> None:
    """Refuse a fixed split of arms of which the log took none."""
    exploration = version.specification().exploration
    drawn = exploration.names if isinstance(exploration, FixedSplit | Single) else []
    if drawn and DO_NOTHING not in actions and not set(drawn) & set(actions):
        raise UnknownCandidate(
            f"not evaluable: no support for {drawn[0]!r}, which {version.version} draws and the log never "
            f"took{closest(drawn[0], actions)}"
        )
