"""A placement's fallback, for each reason and on every way to ask: shown, recorded, and nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Connection, func, select

from audiences.errors import FeaturesDamaged, FeaturesUnavailable
from audiences.features import Features
from audiences.repository import add_users
from decision.answers import AskedIdentity, DecideAnswer, DecideRequest
from decision.batch import decide_to_parquet
from decision.deadline import Deadline
from decision.decider import Decider
from decision.decision_log import DecisionLog
from decision.gathering import Gathering
from decision.inline import InlineMessages, MessageShown
from decision.recording import Recorder
from decision.recording_together import RecorderTogether
from decision.report import ledger_summary
from delivery.recipients import Recipients, Strangers
from learning.errors import NothingToRescore
from learning.exports import export_log
from learning.reward_service import RewardService
from learning.tables import reward_windows
from playbooks.constraints.documents import Cap
from playbooks.content.documents import Content
from playbooks.counters import SqlCounters
from playbooks.decision import Decision
from playbooks.library import Draft
from playbooks.matching import Snapshot
from playbooks.models import Arm
from playbooks.offers import Offer
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.errors import NextplayError
from storage.schema import facts
from tests.deciding import WEEK, Even, Everywhere, playbook
from tests.publishing import publish

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
REASONS = {
    "nobody": "unknown_user",
    "new": "features_missing",
    "old": "features_stale",
    "away": "features_unreachable",
    "odd": "policy_broken",
    "ann": "deadline",
}


class Half:
    """Features of some users; those of `away` can't be read, and one of `cut` is damaged."""

    types: Mapping[str, Any] = MappingProxyType({})

    def read(self, user_id: str) -> Features:
        if user_id == "away":
            raise FeaturesUnavailable("it does not answer")
        if user_id == "cut":
            raise FeaturesDamaged("cut short")
        values = {"ann": {"mood": 1.0}, "odd": {"mood": -1.0}}.get(user_id)
        old = user_id == "old"
        return Features(values or {}, missing=values is None and not old, as_of=None, outdated=old)

    def read_many(self, user_ids: Sequence[str]) -> list[Features]:
        return [self.read(user) for user in user_ids]


class Moody(Even):
    """A policy that fails for whoever is in a bad mood."""

    inputs = frozenset({"mood"})

    def score(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> Any:
        if features["mood"] < 0:
            raise ZeroDivisionError
        return super().score(features, arms)


class Counting:
    """Counts the runs that begin."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def refuses(self, connection: Connection, decision: Decision, arm: Arm) -> str | None:
        assert decision.fallback is None
        return None

    def start(self, connection: Connection, decided: Sequence[tuple[Decision, Arm]]) -> None:
        self.begun += [decision.user_id for decision, _ in decided]


class Nobody(Strangers):
    """Users who are asked for by nobody: a fallback is filled without."""

    def of(self, user_id: str, *_: Any) -> Any:
        raise NextplayError(f"{user_id} was looked up")


@pytest.fixture
def runs() -> Counting:
    return Counting()


@pytest.fixture
def decider(database: Database, runs: Counting) -> Decider:
    """A playbook that competes, and one that greets."""
    draft = Draft(
        (playbook("usual", Cap(id="few", limit=9, window=WEEK), priority=1), playbook("greeting")),
        {"tea": Offer(id="tea", name="Tea", attributes={"group": "g"})},
        {"notice": Content(id="notice", subject="{{ offer.name }}", body="It is {{ offer.name }}.")},
    )
    library = database.write(lambda connection: publish(connection, draft, NOW))
    database.write(lambda connection: add_users(connection, [("new", NOW), ("ann", NOW)]))
    return deciding(database, runs, Snapshot(library, Moody(), "seed", fallbacks={"home": "greeting"}))


def deciding(
    database: Database, runs: Counting, snapshot: Snapshot, recipients: Recipients | None = None
) -> Decider:
    return Decider(
        database,
        SimulatedClock(NOW),
        Half(),
        Everywhere(),
        runs,
        SqlCounters(database),
        snapshot,
        messages=InlineMessages(recipients or Nobody()),
    )


def asked_of(user: str, **given: Any) -> DecideRequest:
    deadline = 0 if REASONS.get(user) == "deadline" else None
    return DecideRequest(placement="home", user_id=user, deadline_ms=deadline, **given)


def together(decider: Decider, asked: Sequence[DecideRequest]) -> list[DecideAnswer]:
    async def ask() -> list[DecideAnswer]:
        gathering = Gathering(decider)
        keys = [f"key-{one.user_id or place}" for place, one in enumerate(asked)]
        return await asyncio.gather(*map(gathering.answer, asked, keys))

    return asyncio.run(ask())


def after(first: Callable[[], None], then: Callable[..., Any]) -> Callable[..., Any]:
    """Return what does the one before the other."""

    def both(*given: Any, **named: Any) -> Any:
        first()
        return then(*given, **named)

    return both


def check_shown(answer: DecideAnswer, reason: str) -> None:
    assert (answer.fallback, answer.playbook, answer.variant) == (reason, "greeting", "greeting/tea")
    assert (answer.content, answer.propensity, answer.suppressed) == ("notice", 1.0, {})
    assert answer.offer is not None
    assert answer.offer.name == "Tea"
    assert answer.message == MessageShown("Tea", "It is Tea.")


def test_each_reason_is_answered_with_the_fallback_alone_and_in_blocks(
    database: Database, decider: Decider, runs: Counting
) -> None:
    log = DecisionLog(database, SimulatedClock(NOW))
    nobody = DecideRequest(placement="home", identity=AskedIdentity("email", "nobody@example.org"))
    asked = {user: asked_of(user) for user in REASONS}
    answers = {user: decider.submit(request, user).result() for user, request in asked.items()}
    for user, answer in answers.items():
        check_shown(answer, REASONS[user])
        # The same key, the same answer.
        again = decider.submit(asked[user], user).result()
        assert msgspec.json.encode(again) == msgspec.json.encode(answer)
        record = log.recorded(answer.decision_id)
        assert (record.user_id, record.fallback, record.acts) == (user, REASONS[user], False)
        assert log.replay(answer.decision_id).identical
        told = log.explain(answer.decision_id)
        assert [(one.arm, one.probability, one.parts) for one in told.candidates] == [
            ("greeting/tea", 1.0, None)
        ]
        assert REASONS[user] in (told.note or "")
        with pytest.raises(NothingToRescore, match=REASONS[user]):
            log.rescore(answer.decision_id)
    # Where a store is away it is so for all who are read together.
    blocks = [[nobody, *(asked[user] for user in REASONS if user != "away")], [asked["away"], asked_of("x")]]
    reasons = ["unknown_user", *(REASONS[user] for user in REASONS if user != "away")]
    for block, said in zip(blocks, (reasons, ["features_unreachable"] * 2), strict=True):
        for answer, reason in zip(together(decider, block), said, strict=True):
            check_shown(answer, reason)
            assert log.replay(answer.decision_id).identical
    check_shown(decider.submit(asked_of("nobody", dry_run=True)).result(), "unknown_user")
    assert runs.begun == []
    with database.read() as connection:
        made = connection.execute(select(func.count()).where(facts.c.kind == "decision")).scalar_one()
    assert made == len(REASONS) + sum(map(len, blocks))
    summary = ledger_summary(database)
    assert sum(summary["fallbacks"].values()) == made
    assert summary["fallbacks"]["policy_broken"] == 2
    assert summary["suppressed"] == {}
    assert SqlCounters(database).read("ann", NOW, since=NOW - WEEK) == {}


def test_whose_features_are_damaged_is_alone_in_it(
    database: Database, decider: Decider, runs: Counting
) -> None:
    decider = deciding(database, runs, decider.snapshot, Strangers())
    usual, cut, nobody = together(
        decider,
        [DecideRequest(placement="home", user_id="ann"), asked_of("cut"), asked_of("nobody")],
    )
    assert (usual.playbook, usual.fallback) == ("usual", None)
    assert (cut.fallback, nobody.fallback) == ("features_unreachable", "unknown_user")


def test_a_deadline_that_passes_before_the_commit_gives_back_what_was_drawn(
    database: Database, decider: Decider, runs: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    decider = deciding(database, runs, decider.snapshot, Strangers())
    drawn = [decider.decide("ann", "home")]
    assert [(one.playbook, one.fallback) for one in drawn] == [("usual", None)]
    in_time = DecideRequest(placement="home", user_id="ann", deadline_ms=60_000)
    others = [DecideRequest(placement="home", user_id="odd", deadline_ms=60_000)]
    check_shown(decider.submit(others[0]).result(), "policy_broken")
    passed = threading.Event()
    monkeypatch.setattr(Deadline, "passed", property(lambda _: passed.is_set()))
    for kind, name in ((Recorder, "record"), (RecorderTogether, "record_each")):
        monkeypatch.setattr(kind, name, after(passed.set, getattr(kind, name)))
    check_shown(decider.submit(in_time).result(), "deadline")
    passed.clear()
    for answer in together(decider, [in_time, *others]):
        check_shown(answer, "deadline")
    assert runs.begun == ["ann"]
    assert sum(map(len, SqlCounters(database).read("ann", NOW, since=NOW - WEEK).values())) == 1


def test_a_batch_and_an_export_tell_what_was_shown(
    database: Database, decider: Decider, runs: Counting, tmp_path: Path
) -> None:
    decider = deciding(database, runs, decider.snapshot, Strangers())
    done = decide_to_parquet(decider, ["ann", "nobody", "new", "odd"], "home", tmp_path / "night.parquet")
    assert done.fallbacks == {"unknown_user": 1, "features_missing": 1, "policy_broken": 1}
    rows = pq.read_table(tmp_path / "night.parquet").to_pylist()
    assert [one["variant"] for one in rows] == ["usual/tea", *["greeting/tea"] * 3]
    assert [one["fallback"] for one in rows] == [None, "unknown_user", "features_missing", "policy_broken"]
    assert runs.begun == ["ann"]
    export_log(database, tmp_path / "log.jsonl", "jsonl")
    told = [msgspec.json.decode(line) for line in (tmp_path / "log.jsonl").read_bytes().splitlines()]
    shown = {one["fallback"]: one["playbook"] for one in told if "fallback" in one}
    assert shown == dict.fromkeys(done.fallbacks, "greeting")


def test_no_outcome_is_credited_to_it_or_kept_from_what_a_policy_drew(
    database: Database, decider: Decider, runs: Counting
) -> None:
    decider = deciding(database, runs, decider.snapshot, Strangers())
    drawn, shown = decider.decide("ann", "home"), decider.submit(asked_of("ann")).result()
    check_shown(shown, "deadline")
    assert RewardService(database).mature(NOW + timedelta(minutes=1)).matured == 1
    windows = reward_windows.c
    with database.read() as connection:
        query = select(windows.decision_id, windows.playbook, windows.arm, windows.rewarded)
        rows = {row.decision_id: tuple(row)[1:] for row in connection.execute(query)}
    # As though it had shown nothing: its window is closed at once, with nothing in it.
    assert rows == {drawn.decision_id: ("usual", "usual/tea", 0), shown.decision_id: (None, "do_nothing", 1)}


def test_the_next_snapshot_says_what_is_shown_from_then_on(database: Database, decider: Decider) -> None:
    before = decider.snapshot
    decider.serve(replace(before, fallbacks={}))
    answer = decider.decide("nobody", "home")
    assert (answer.playbook, answer.variant, answer.message) == (None, "do_nothing", None)
    decider.serve(before)
    check_shown(decider.decide("nobody", "home"), "unknown_user")
