"""Policy versions are kept, passed over when damaged, let go of; decisions are scored again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from audiences.identity.service import IdentityService
from audiences.selection.memberships import Memberships
from decision.answers import POLICY_BROKEN
from decision.decider import Decider
from decision.decision_log import DecisionLog
from decision.following import Follower
from learning import version_repository
from learning.errors import BrokenWeights, NothingToRescore, VersionGone
from learning.exploration_kinds import Softmax
from learning.learner import Learnt
from learning.models import Linear
from learning.spec import PolicySpec
from learning.tables import policies
from learning.versions import PolicyVersion, child, cold_start
from playbooks.content.documents import Content
from playbooks.counters import SqlCounters
from playbooks.errors import DecisionDamaged, DecisionPurged, UnknownDecision
from playbooks.library import Draft
from playbooks.library.loading import Loader
from playbooks.matching import Snapshot
from playbooks.models import Arm
from playbooks.offers import Offer
from playbooks.policy import FloatArray, Policy
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ids import new_id
from storage.schema import facts, metadata
from tests.contract.test_storage_migrations import bare, downgrade
from tests.deciding import Even, Everywhere, Known, Started, playbook
from tests.publishing import publish

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
WORDS = [f"c{place:03}" for place in range(60)]
FLOOR = {"start": 0, "floor": 0, "half_life": 1}
SPEC = PolicySpec.model_validate(
    {
        "id": "p",
        "placements": ["home"],
        "features": [{"one_hot": "arm.category"}],
        "learner": {"kind": "linear_gaussian"},
        "exploration": {
            "kind": "softmax",
            "temperature": 0.1,
            "floor": {"start": 0, "floor": 0, "half_life": 1},
        },
    }
)


@pytest.fixture
def tables(database: Database) -> Database:
    database.write(lambda c: metadata.create_all(c, checkfirst=True))
    return database


def keep(database: Database, version: PolicyVersion) -> PolicyVersion:
    database.write(lambda c: version_repository.insert_version(c, version, version.created_at), rows=2)
    return version


def linear(**weights: float) -> Linear:
    rng = np.random.default_rng(1)
    values = rng.normal(size=len(WORDS)).round(3) / 10
    for name, value in weights.items():
        values[WORDS.index(name)] = value
    return Linear(tuple(f"category={word}" for word in WORDS), values, 0.1, 0.0, 1.0)


def following(parent: PolicyVersion, now: datetime, **weights: float) -> PolicyVersion:
    learnt = Learnt(linear(**weights), b"state" * 20)
    return child(parent, learnt, trained=parent.trained + 1, through=1, metrics={}, now=now)


def three(database: Database) -> list[PolicyVersion]:
    """Versions of one morning: cold, learnt, and learnt a little more."""
    cold = keep(database, cold_start(SPEC, {"category": WORDS}, NOW - timedelta(days=1), after=None))
    second = keep(database, following(cold, NOW))
    return [cold, second, keep(database, following(second, NOW + timedelta(minutes=1), c007=0.5))]


def damage(database: Database, name: str, **values: Any) -> None:
    database.write(lambda c: c.execute(update(policies).where(policies.c.version == name).values(values)))


def test_a_day_has_one_copy_and_differences_that_are_exact(tables: Database) -> None:
    versions = three(tables)
    with tables.read() as connection:
        kept = connection.execute(policies.select().order_by(policies.c.number)).all()
        assert [version_repository.version(connection, one.version) for one in versions] == versions
    assert [row.base for row in kept] == [None, None, "p@2"]
    assert len(kept[2].weights) < len(kept[1].weights) / 10


def test_versions_come_through_a_migration_down_and_up(database_url: str) -> None:
    opened = Database(database_url)
    versions = three(opened)
    opened.close()
    with bare(database_url) as connection:
        downgrade(connection, "0021")
        bodies = connection.exec_driver_sql("SELECT body FROM policies ORDER BY number").scalars().all()
        assert [PolicyVersion.from_bytes(bytes(body)) for body in bodies] == versions
    opened = Database(database_url)
    with opened.read() as connection:
        assert [version_repository.version(connection, one.version) for one in versions] == versions
    opened.close()


@pytest.mark.parametrize("column", ["weights", "body", "state"])
@pytest.mark.parametrize("cut", [lambda data: data[:40], lambda data: data[:-9] + b"x" + data[-8:]])
def test_a_damaged_version_is_passed_over_and_told_of(tables: Database, column: str, cut: Any) -> None:
    _, second, third = three(tables)
    with tables.read() as connection:
        whole = connection.execute(policies.select().where(policies.c.version == "p@3")).mappings().one()
    damage(tables, "p@3", **{column: cut(whole[column])})
    with tables.read() as connection, capture_logs() as logs:
        assert version_repository.latest_version(connection, "p") == second
        assert [name for name, _ in version_repository.damaged(connection)] == ["p@3"]
        # The number of the damaged one is not given again.
        assert version_repository.next_number(connection, "p") == 4
    assert [one["version"] for one in logs] == ["p@3"]
    fourth = keep(tables, following(second, NOW, c001=0.2).numbered(4))
    with tables.read() as connection:
        assert version_repository.latest_version(connection, "p") == fourth
        if column != "body":
            # Whatever became of its weights, decisions by it replay.
            assert version_repository.unweighted(connection, "p@3").trained == third.trained


@pytest.mark.parametrize("factor", [0.9, np.nan, -1.0])
def test_a_policy_that_gives_no_distribution_is_not_published(
    tables: Database, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    _, _, third = three(tables)
    with monkeypatch.context() as patched:
        patched.setattr(Softmax, "vector", lambda _, stakes, __: np.full(len(stakes.arms), factor))
        with pytest.raises(BrokenWeights, match="p@4 gave no distribution over 1 arms"):
            keep(tables, following(third, NOW))
    with tables.read() as connection:
        assert version_repository.latest_version(connection, "p") == third


def decider_over(database: Database, clock: SimulatedClock, policy: Policy) -> Decider:
    draft = Draft(
        (playbook("always"),),
        {
            word: Offer(id=word, name=word, attributes={"group": "g", "category": word})
            for word in ("c001", "c007")
        },
        {"notice": Content(id="notice", subject="s", body="b")},
    )
    library = database.write(lambda connection: publish(connection, draft, clock.now()))
    return Decider(
        database,
        clock,
        Known(),
        Everywhere(),
        Started(),
        SqlCounters(database),
        Snapshot(library, policy, "seed"),
        mark_used=version_repository.mark_used,
    )


def test_a_decision_is_scored_again_while_its_version_is_kept(database: Database) -> None:
    clock = SimulatedClock(NOW)
    _, second, third = three(database)
    log = DecisionLog(database, clock, kept_days=200)
    answer = decider_over(database, clock, second.serve()).decide("ann", "home")
    again = log.rescore(answer.decision_id)
    assert again.agrees
    assert again.largest_difference <= 1e-12
    assert again.arms == ["always/c001", "always/c007"]
    assert again.scores == pytest.approx(again.recorded, abs=1e-12)
    for number in range(4, 8):
        keep(database, following(third, NOW + timedelta(days=1, minutes=number)).numbered(number))
    clock.move_to(NOW + timedelta(days=90))
    database.write(lambda c: version_repository.let_go(c, clock.now()))
    # Used, so it is kept; 4 is the copy of its day; 1 and 3 decided nothing.
    with database.read() as connection:
        assert version_repository.newest_names(connection, "p") == ["p@7", "p@6", "p@5", "p@4", "p@2"]
    assert log.rescore(answer.decision_id).agrees
    clock.move_to(NOW + timedelta(days=92))
    database.write(lambda c: version_repository.let_go(c, clock.now()))
    with pytest.raises(VersionGone, match="90 days"):
        log.rescore(answer.decision_id)
    assert log.replay(answer.decision_id).identical
    old = new_id(NOW - timedelta(days=150))
    with pytest.raises(DecisionPurged, match="200 days"):
        log.recorded(old)
    with pytest.raises(UnknownDecision):
        log.recorded(new_id(clock.now()))


@pytest.mark.parametrize("body", ['{"decision_id": "d', "{}", "null"])
def test_a_damaged_record_is_said(database: Database, body: str) -> None:
    clock = SimulatedClock(NOW)
    _, second, _ = three(database)
    log = DecisionLog(database, clock)
    answer = decider_over(database, clock, second.serve()).decide("ann", "home")
    damage = update(facts).where(facts.c.id == answer.decision_id).values(body=body)
    database.write(lambda connection: connection.execute(damage).rowcount)
    for read in (log.recorded, log.replay, log.rescore):
        with pytest.raises(DecisionDamaged, match=f"{answer.decision_id}.* damaged .* backup"):
            read(answer.decision_id)


class Broken(Even):
    """A policy that goes wrong in flight."""

    def __init__(self, scores: Any = None, vector: Any = None) -> None:
        self._scores, self._vector = scores, vector

    def score(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray:
        if self._scores is None:
            return np.ones(len(arms))
        return np.full(len(arms), self._scores) if isinstance(self._scores, float) else self._scores()

    def explore(self, stakes: Any) -> FloatArray:
        return np.full(len(stakes.values), 0.2) if self._vector is None else np.array(self._vector)


def fail() -> FloatArray:
    raise ZeroDivisionError("in the policy")


@pytest.mark.parametrize("policy", [Broken(scores=float("nan")), Broken(), Broken(scores=fail)])
def test_a_policy_that_breaks_in_flight_is_answered_with_the_fallback(
    database: Database, policy: Broken
) -> None:
    clock = SimulatedClock(NOW)
    answer = decider_over(database, clock, policy).decide("ann", "home")
    assert (answer.variant, answer.fallback, answer.propensity) == ("do_nothing", POLICY_BROKEN, 1.0)
    with pytest.raises(NothingToRescore, match="policy_broken"):
        DecisionLog(database, clock).rescore(answer.decision_id)


def test_a_process_that_serves_passes_over_damaged_versions(database: Database) -> None:
    cold, second, third = three(database)
    decider = decider_over(database, SimulatedClock(NOW), cold.serve())
    follower = Follower(
        database,
        decider,
        Memberships(),
        policy=lambda _connection: "p",
        inputs=frozenset(),
        identity=IdentityService(database),
        loader=Loader(),
    )
    damage(database, third.version, weights=b"cut short")
    with capture_logs() as logs:
        for _ in range(3):
            follower.refresh()
    assert decider.snapshot.policy.version == second.version
    assert [one["version"] for one in logs if one["log_level"] == "error"] == [third.version]
    fourth = keep(database, following(second, NOW).numbered(4))
    follower.refresh()
    assert decider.snapshot.policy.version == fourth.version
