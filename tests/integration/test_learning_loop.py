"""Decisions become rewards, rewards become versions, versions are judged: on both databases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from audiences.identity.models import Person
from decision.evaluating.experiments import own_experiment
from learning import earnings_repository, outcome_repository, repository, version_repository
from learning.errors import (
    BrokenWeights,
    InvalidRounds,
    InvalidRows,
    NoExperiment,
    SeenInTraining,
    UnknownPlan,
    UnknownVersion,
    VersionTaken,
)
from learning.evaluation import Evaluation
from learning.late_outcomes import RefusedOutcome
from learning.rebuilding import rebuild
from learning.reward_service import Judged, RewardService
from learning.rewards import Reward
from learning.rounds import evaluate_decisions, see_again
from learning.spec import PolicySpec
from learning.training import Start, Training
from learning.versions import PolicyVersion, cold_start
from playbooks.content.documents import Content
from playbooks.flow import End, Flow
from playbooks.goal_documents import Goal
from playbooks.library import Draft, Library
from playbooks.matching import Request, Snapshot, decide, fall_back, replay
from playbooks.models import DO_NOTHING, Playbook, VariantSet
from playbooks.offers import Offer
from playbooks.policy import Policy, Stakes
from storage import ledger
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.schema import metadata
from tests.migrated import copy_migrated
from tests.publishing import publish

START = datetime(2026, 3, 2, tzinfo=UTC)
WINDOW = timedelta(days=14)
CATEGORIES = ["MILK", "FD WRAPS/BAGS", "CANDY - PACKAGED", "APPLES", "BACON"]
VOCABULARIES = {"category": CATEGORIES}
USERS = [f"u{i:03}" for i in range(120)]


def spec(**changes: Any) -> PolicySpec:
    return PolicySpec.model_validate(
        {
            "id": "next_category",
            "placements": ["outbound"],
            "features": [
                {
                    "name": "rate",
                    "from": "category_rate",
                    "at": "arm.category",
                    "transform": ["raw", "sqrt"],
                },
                {"one_hot": "arm.category"},
            ],
            "learner": {"kind": "vw"},
            "exploration": {
                "kind": "epsilon_greedy",
                "epsilon": {"start": 0.3, "floor": 0.3, "half_life": 1000},
            },
        }
        | changes
    )


def playbook(id_: str, **goal: Any) -> Playbook:
    return Playbook(
        id=id_,
        name=id_,
        placement="outbound",
        goal=Goal(
            **{
                "event": "order_completed",
                "where": "list_contains(event.categories, arm.category)",
                "window": WINDOW,
                **goal,
            }
        ),
        variants=[VariantSet(group="category", channel="mailbox", content="notice")],
        flow=Flow(start="over", states={"over": End(kind="end", result="over")}),
    )


class World:
    """A population whose users buy each category in a fortnight with a chance of their own."""

    def __init__(self, database: Database, *plans: Playbook, seed: int = 1) -> None:
        self.database = database
        self.rng = np.random.default_rng(seed)
        self.chances = {user: self.rng.beta(0.5, 2.0, len(CATEGORIES)) for user in USERS}
        database.write(lambda c: metadata.create_all(c, checkfirst=True))
        self.library = self.publish(*(plans or (playbook("everyone"),)))

    def publish(self, *plans: Playbook) -> Library:
        offers = [
            Offer(id=f"o{i}", name=name, attributes={"group": "category", "category": name})
            for i, name in enumerate(CATEGORIES)
        ]
        content = Content(id="notice", subject="s", body="b")
        draft = Draft(plans, {offer.id: offer for offer in offers}, {content.id: content})
        self.library = self.database.write(lambda c: publish(c, draft, START))
        return self.library

    def features(self, user: str) -> dict[str, Any]:
        return {"category_rate": self.chances[user].tolist()}

    def decide(
        self, policy: Policy, now: datetime, *, key: str = "", users: Sequence[str] = USERS
    ) -> list[str]:
        snapshot = Snapshot(self.library, policy, seed="s")
        decisions = [
            decide(
                snapshot,
                Request(new_id(now), user, "outbound", key or now.isoformat()),
                features=self.features(user),
                audiences=frozenset(),
                now=now,
            )
            for user in users
        ]
        self.record(decisions)
        return [decision.decision_id for decision in decisions]

    def record(self, decisions: Sequence[Any]) -> None:
        facts = [
            NewFact(Kind.DECISION, one.decision_id, one.placement, one.user_id, one.decided_at, one)
            for one in decisions
        ]
        self._append(facts, decisions[0].decided_at)

    def buy(
        self, user: str, at: datetime, *categories: str, told: datetime | None = None, **properties: Any
    ) -> str:
        """Let a user buy; `told` is when the service learns of it, at once without it."""
        event = new_id(at)
        body = {"properties": {"categories": list(categories), **properties}}
        self._append([NewFact(Kind.EVENT, event, "order_completed", user, at, body)], told or at)
        return event

    def leave(self, user: str, at: datetime) -> None:
        self._append([NewFact(Kind.CONSENT, f"{user}:any", "denied", user, at, {})], at)

    def refused(self) -> list[RefusedOutcome]:
        with self.database.read() as connection:
            found = outcome_repository.refused_before(connection, None, 100)
        return [one.decode(RefusedOutcome) for one in found]

    def live_a_fortnight(self, start: datetime) -> None:
        """Everybody buys what chance has it: one order each, somewhere inside the fortnight."""
        facts = []
        for user in USERS:
            bought = self.rng.random(len(CATEGORIES)) < self.chances[user]
            at = start + timedelta(hours=float(self.rng.uniform(1, 300)))
            body = {"properties": {"categories": [c for c, b in zip(CATEGORIES, bought, strict=True) if b]}}
            facts.append(NewFact(Kind.EVENT, new_id(at), "order_completed", user, at, body))
        self._append(facts, start)

    def rewards(self) -> dict[str, Reward]:
        with self.database.read() as connection:
            ids = [one.decision_id for _, _, one in repository.rewards_after(connection, 0, limit=10**6)]
            return repository.rewards_of(connection, ids)

    def _append(self, facts: Sequence[NewFact], now: datetime) -> None:
        for start in range(0, len(facts), 500):
            piece = facts[start : start + 500]
            self.database.write(partial(ledger.append, new=piece, now=now), rows=len(piece))


class Fixed:
    """A policy that always draws the arm of one category, or nothing."""

    inputs = frozenset({"category_rate"})

    def __init__(self, category: str | None) -> None:
        self.version = "fixed@1"
        self._category = category

    def score(self, features: Any, arms: Any) -> Any:
        return np.array([1.0 if arm.attributes["category"] == self._category else -1.0 for arm in arms])

    def deviations(self, features: Any, arms: Any) -> Any:
        return None

    def explore(self, stakes: Any) -> Any:
        scores = stakes.values
        return (scores == scores.max()).astype(float) / (scores == scores.max()).sum()


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


@pytest.fixture
def service(world: World) -> RewardService:
    return RewardService(world.database)


@contextmanager
def training(database: Database, of: PolicySpec) -> Iterator[Training]:
    made = Training(database, of, VOCABULARIES)
    try:
        yield made
    finally:
        made.close()


def test_a_decision_earns_what_its_window_brings(world: World, service: RewardService) -> None:
    users = ["in_time", "last_moment", "too_late", "before", "other", "twice"]
    world.chances.update(dict.fromkeys(users, world.chances["u000"]))
    ids = dict(zip(users, world.decide(Fixed("BACON"), START, users=users), strict=True))
    first = world.buy("in_time", START, "BACON", "MILK")
    last = world.buy("last_moment", START + WINDOW - timedelta(microseconds=1), "BACON")
    world.buy("too_late", START + WINDOW, "BACON")
    world.buy("before", START - timedelta(seconds=1), "BACON")
    world.buy("other", START + timedelta(days=1), "MILK")
    world.buy("twice", START + timedelta(days=3), "BACON")
    early = world.buy("twice", START + timedelta(days=2), "BACON")

    assert service.mature(START + WINDOW - timedelta(seconds=1)).matured == 0
    assert service.mature(START + WINDOW).matured == len(users)
    earned = {user: world.rewards()[decision] for user, decision in ids.items()}
    assert {user: one.value for user, one in earned.items()} == {
        "in_time": 1.0,
        "last_moment": 1.0,
        "too_late": 0.0,
        "before": 0.0,
        "other": 0.0,
        "twice": 1.0,
    }
    assert earned["in_time"].outcome == first
    assert earned["last_moment"].outcome == last
    assert earned["twice"].outcome == early
    assert service.mature(START + WINDOW * 2).matured == 0


def test_open_windows_teach_what_is_known_of_them(world: World, service: RewardService) -> None:
    def batch(start: datetime, buyers: int) -> None:
        """Decide for all; so many buy, evenly over the window."""
        world.decide(Fixed("BACON"), start)
        for place, user in enumerate(USERS[:buyers]):
            world.buy(user, start + WINDOW * ((place + 0.5) / buyers), "BACON")

    ridge = spec(learner={"kind": "linear_gaussian"}, features=[{"one_hot": "arm.category"}])
    early = ridge.model_copy(update={"open_windows": "learn"})
    assert early.fingerprint == ridge.fingerprint
    bacon = np.array([[0.0, 0.0, 0.0, 0.0, 1.0]])

    def expected(version: PolicyVersion) -> float:
        return float(version.serve()._model.predict(bacon)[0])

    second = START + WINDOW
    half = second + WINDOW / 2
    with training(world.database, early) as job:
        batch(START, 60)
        service.mature(START + WINDOW / 2)
        # No window has closed: nothing is known of delays.
        assert job.learn(START + WINDOW / 2).metrics == {}
        # Of those that have not bought by now some still may, but how many nobody knows yet.
        first = job.learn(START + WINDOW * 0.9)
        assert first.metrics == {"early": 120, "early_successes": 54}
        assert (first.trained, first.through, first.state) == (0, 0, None)
        assert expected(first) == pytest.approx(54 / 120, abs=0.02)
        assert rebuild(world.database, first.version)[1].verdict == "exact"
        service.mature(second)
        closed = job.learn(second)
        assert closed.metrics["early"] == 0
        batch(second, 90)
        service.mature(half)
        version = job.learn(half)
        # Of ninety that will come 45 have: a zero counts a third, and 45 of 70 is more than the half that
        # bought before, where 45 of 120 would be less.
        assert (version.metrics["early"], version.metrics["early_successes"]) == (120, 45)
        assert (version.trained, version.through) == (closed.trained, closed.through)
        assert expected(version) > expected(closed) + 0.03
        assert job.learn(half) == version
        # They leave nothing behind: what is learnt of them when they close is all there is.
        service.mature(second + WINDOW)
        last = job.learn(second + WINDOW)
        assert last.trained == closed.trained + 120
        rebuilt = rebuild(world.database, version.version)[1]
        assert rebuilt.verdict == "exact"
        assert "120 decisions whose windows were open then" in rebuilt.says[0]
        # Decisions that it learnt of early are no test of it.
        with pytest.raises(InvalidRounds):
            see_again(world.database, version, after=version.through)
    with training(world.database, ridge.model_copy(update={"id": "waits_too"})) as waiting:
        assert waiting.learn(second + WINDOW).state == last.state


def test_doing_nothing_earns_nothing_at_once(world: World, service: RewardService) -> None:
    (idle,) = world.decide(Fixed(None), START, users=["u000"])
    world.buy("u000", START + timedelta(days=1), *CATEGORIES)
    snapshot = Snapshot(world.library, Fixed("MILK"), seed="s")
    fallen = fall_back(snapshot, Request(new_id(START), "u001", "outbound", "k"), START, "unknown_user")
    world.record([fallen])
    assert service.mature(START).matured == 2
    assert world.rewards()[idle].value == 0.0
    assert world.rewards()[idle].arm == DO_NOTHING
    assert world.rewards()[fallen.decision_id].value == 0.0


def test_an_outcome_counts_for_the_latest_decision_it_fits(world: World, service: RewardService) -> None:
    (older,) = world.decide(Fixed("BACON"), START, users=["u000"])
    (newer,) = world.decide(Fixed("BACON"), START + timedelta(days=2), users=["u000"])
    (other,) = world.decide(Fixed("MILK"), START + timedelta(days=3), users=["u000"])
    world.buy("u000", START + timedelta(days=5), "BACON")
    assert service.mature(START + WINDOW).matured == 1
    assert service.mature(START + WINDOW * 2).matured == 2
    values = {decision: one.value for decision, one in world.rewards().items()}
    assert values == {older: 0.0, newer: 1.0, other: 0.0}


LATER = START + WINDOW + timedelta(days=3)


def test_an_outcome_that_comes_late_corrects_the_reward(world: World, service: RewardService) -> None:
    users = ["u000", "u001"]
    late, never = world.decide(Fixed("BACON"), START, users=users)
    assert service.mature(START + WINDOW) == Judged(matured=2)
    event = world.buy("u000", START + timedelta(days=1), "BACON", told=LATER)
    world.buy("u001", START + WINDOW, "BACON", told=LATER)
    assert service.mature(LATER) == Judged(corrected=1)
    assert service.mature(LATER) == Judged()
    found = world.rewards()[late]
    assert (found.value, found.outcome, found.version) == (1.0, event, 2)
    assert world.rewards()[never].version == 1
    # An earlier one takes its place.
    earlier = world.buy("u000", START, "BACON", told=LATER)
    assert service.mature(LATER) == Judged(corrected=1)
    assert (world.rewards()[late].outcome, world.rewards()[late].version) == (earlier, 3)
    with world.database.read() as connection:
        assert ledger.counts(connection)[Kind.REWARD] == {"matured": 2, "corrected": 2}
        assert list(earnings_repository.values_of_version(connection, "everyone", 1, START)) in (
            [1.0, 0.0],
            [0.0, 1.0],
        )


def test_a_clock_that_jumps_spoils_nothing(world: World, service: RewardService) -> None:
    ridge = spec(learner={"kind": "linear_gaussian"}, features=[{"one_hot": "arm.category"}])
    world.decide(Fixed("BACON"), START)
    with training(world.database, ridge) as job:
        # A year ahead all windows have closed, and nobody has bought yet.
        ahead = START + timedelta(days=365)
        assert service.mature(ahead) == Judged(matured=len(USERS))
        hasty = job.learn(ahead)
        assert hasty.metrics["mean_reward"] == 0.0
        # And back again: nothing is undone, nothing is opened twice.
        assert service.mature(START) == Judged()
        assert job.learn(START) == hasty
        for user in USERS[:30]:
            world.buy(user, START + timedelta(days=1), "BACON", told=START + timedelta(days=1))
        assert service.mature(START + WINDOW) == Judged(corrected=30)
        corrected = job.learn(START + WINDOW)
    assert (corrected.anew, corrected.trained) == (True, len(USERS))
    matrix = np.array([[0.0, 0.0, 0.0, 0.0, 1.0]])
    before, after = (one.serve()._model.predict(matrix)[0] for one in (hasty, corrected))
    assert before < 0.05
    assert after == pytest.approx(0.25, abs=0.02)


def test_what_speaks_against_a_decision_takes_from_it_also_late(database: Database) -> None:
    against = [
        {"event": "order_completed", "where": "list_contains(event.categories, 'TEA')", "value": -2.0},
        {"opt_out": True, "value": -5.0, "window": timedelta(days=30)},
    ]
    world = World(database, playbook("everyone", negatives=against))
    service = RewardService(database)
    users = ["u000", "u001", "u002"]
    both, left, late = world.decide(Fixed("BACON"), START, users=users)
    world.buy("u000", START + timedelta(days=1), "BACON")
    world.buy("u000", START + timedelta(days=2), "TEA")
    world.leave("u001", START + timedelta(days=3))
    assert service.mature(START + WINDOW).matured == 3
    world.leave("u002", START + timedelta(days=20))
    assert service.mature(START + timedelta(days=21)) == Judged(corrected=1)
    values = {one: found.value for one, found in world.rewards().items()}
    assert values == {both: -1.0, left: -5.0, late: -5.0}


def test_outcomes_that_cannot_count_are_named_and_hold_nothing_up(database: Database) -> None:
    world = World(database, playbook("everyone", value={"property": "value", "most": 9, "currency": "EUR"}))
    service = RewardService(database)
    (mine,) = world.decide(Fixed("BACON"), START, users=["u000"])
    (theirs,) = world.decide(Fixed("BACON"), START, users=["u001"])
    dollars = world.buy("u000", START, "BACON", value=3.0, currency="USD")
    named = {
        world.buy(
            "u000", START, "BACON", value=1.0, decision_id="unknown"
        ): "there is no decision of this id",
        world.buy("u000", START, "BACON", value=1.0, decision_id=theirs): "was made for another user",
        world.buy("u001", START, "MILK", value=1.0, decision_id=theirs): "goal does not count it",
        world.buy("u001", START, "BACON", value=1.0, decision_id=[]): "there is no decision of this id",
    }
    world.buy("u000", START + timedelta(days=1), "BACON", value=4.0)
    assert service.mature(START + WINDOW) == Judged(matured=2, refused=5)
    assert world.rewards()[mine].value == 4.0
    assert world.rewards()[theirs].value == 0.0
    whys = {one.outcome: one.why for one in world.refused()}
    assert whys.pop(dollars) == "value is in 'USD', and the goal counts EUR"
    assert whys.keys() == named.keys()
    assert all(why in whys[event] for event, why in named.items())
    assert service.mature(START + WINDOW) == Judged()


def test_another_goal_judges_all_decisions_again(world: World, service: RewardService) -> None:
    users = ["u000", "u001"]
    judged, open_ = world.decide(Fixed("BACON"), START, users=users)
    world.buy("u000", START + timedelta(days=15), "BACON")
    world.buy("u001", START + timedelta(days=15), "BACON")
    service.mature(START + WINDOW)
    (recent,) = world.decide(Fixed("BACON"), START + timedelta(days=14), users=["u002"])
    world.publish(playbook("everyone", window=timedelta(days=21), value=3.0))
    assert service.recompute("everyone", 2) == 3
    now = START + timedelta(days=21)
    assert service.mature(now - timedelta(hours=1)) == Judged()
    assert service.mature(now) == Judged(corrected=2)
    values = {one: (found.value, found.goal) for one, found in world.rewards().items()}
    assert values == {judged: (3.0, 2), open_: (3.0, 2)}
    assert service.mature(now + WINDOW) == Judged(matured=1)
    assert world.rewards()[recent].goal == 2
    with pytest.raises(UnknownPlan, match="version 7"):
        service.recompute("everyone", 7)


def test_a_correction_is_learnt_as_if_it_had_come_in_time(database: Database) -> None:
    spec_ = spec(learner={"kind": "linear_gaussian"})
    users = USERS[:40]
    worlds = [World(database)]
    service = RewardService(database)
    worlds[0].decide(Fixed("BACON"), START, users=users)
    for user in users[:10]:
        worlds[0].buy(user, START + timedelta(days=1), "BACON")
    service.mature(START + WINDOW)
    with training(database, spec_) as made:
        first = made.learn(START + WINDOW)
        for user in users[10:15]:
            worlds[0].buy(user, START + timedelta(days=1), "BACON", told=LATER)
        assert service.mature(LATER) == Judged(corrected=5)
        second = made.learn(LATER)
        assert (second.anew, second.trained, second.parent) == (True, first.trained, first.version)
        assert made.learn(LATER).version == second.version
        # What had learnt nothing before learns the same of the same.
        fresh = next(made.folds(Start(0, None, second.corrected))).learnt
        assert fresh.model.to_bytes() == second.model
        assert second.model != first.model


class Joined:
    """Two users are one person, who goes by the id of the second."""

    def person(self, user_id: str) -> Person:
        return (
            Person(USERS[1], tuple(sorted(USERS[:2])))
            if user_id in USERS[:2]
            else Person(user_id, (user_id,))
        )

    def canonical(self, user_id: str) -> str:
        return self.person(user_id).canonical

    def members(self, user_id: str) -> tuple[str, ...]:
        return self.person(user_id).members


def test_an_outcome_of_one_profile_counts_for_the_persons_latest_decision(world: World) -> None:
    earlier, other = (
        world.decide(Fixed(CATEGORIES[0]), START, users=[user])[0] for user in (USERS[0], USERS[2])
    )
    (later,) = world.decide(Fixed(CATEGORIES[0]), START + timedelta(days=1), users=[USERS[1]])
    event = world.buy(USERS[0], START + timedelta(days=2), CATEGORIES[0])
    RewardService(world.database, Joined()).mature(START + 2 * WINDOW)
    rewards = world.rewards()
    assert rewards[later].outcome == event
    assert rewards[earlier].outcome is None
    assert rewards[other].outcome is None


def test_an_outcome_that_names_its_decision_counts_for_that_one(world: World, service: RewardService) -> None:
    (older,) = world.decide(Fixed("BACON"), START, users=["u000"])
    (newer,) = world.decide(Fixed("BACON"), START + timedelta(days=2), users=["u000"])
    world.buy("u000", START + timedelta(days=5), "BACON", decision_id=older)
    world.buy("u000", START + timedelta(days=6), "BACON", decision_id="somebody else's")
    service.mature(START + WINDOW * 2)
    assert world.rewards()[older].value == 1.0
    assert world.rewards()[newer].value == 0.0


def test_windows_of_different_lengths_close_in_their_own_time(database: Database) -> None:
    world = World(database, playbook("long", window=timedelta(days=30), value=3.0))
    service = RewardService(database)
    (slow,) = world.decide(Fixed("MILK"), START, users=["u000"])
    world.publish(playbook("long", window=timedelta(days=2), value=2.0))
    (quick,) = world.decide(Fixed("MILK"), START + timedelta(days=1), users=["u001"])
    for user in ("u000", "u001"):
        world.buy(user, START + timedelta(days=2), "MILK")
    assert service.mature(START + timedelta(days=3)).matured == 1
    assert world.rewards()[quick].value == 2.0
    assert service.mature(START + timedelta(days=30)).matured == 1
    # A decision keeps the goal of the version it was made from.
    assert world.rewards()[slow].value == 3.0


def test_a_refused_arm_is_credited_as_intended_and_marked(world: World, service: RewardService) -> None:
    snapshot = Snapshot(world.library, Fixed("MILK"), seed="s")
    request = Request(new_id(START), "u000", "outbound", "k")
    drawn = decide(snapshot, request, features=world.features("u000"), audiences=frozenset(), now=START)
    world.record([msgspec.structs.replace(drawn, refused_by="cap.everyone.monthly")])
    world.buy("u000", START + timedelta(days=1), "MILK")
    service.mature(START + WINDOW)
    credited = world.rewards()[drawn.decision_id]
    assert credited.value == 1.0
    assert credited.acts is False


def test_only_decisions_that_were_drawn_and_delivered_teach(world: World) -> None:
    with training(world.database, spec()) as made:
        cold = made.in_charge(START)
        policy = cold.serve()
        users = [user for user in USERS if user != USERS[0]]
        world.decide(policy, START, users=users)
        snapshot = Snapshot(world.library, Fixed("MILK"), seed="s")
        requests = [
            Request(new_id(START), USERS[0], "outbound", key) for key in ("refused", "fallen", "control")
        ]
        drawn = decide(
            snapshot,
            requests[0],
            features=world.features(USERS[0]),
            audiences=frozenset(),
            now=START,
        )
        refused = msgspec.structs.replace(drawn, refused_by="cap.everyone.monthly")
        control = msgspec.structs.replace(
            drawn, decision_id=requests[2].decision_id, request_key="control", holdout=["holdout.gold"]
        )
        world.record([refused, fall_back(snapshot, requests[1], START, "unknown_user"), control])
        RewardService(world.database).mature(START + WINDOW)
        version = made.learn(START + WINDOW)
    credited = list(world.rewards().values())
    idle = sum(one.arm == DO_NOTHING for one in credited)
    assert len(credited) == len(users) + 3
    assert version.trained == len(credited) - idle - 2
    assert evaluate_decisions(world.database, cold, after=0).diagnostics.rounds == len(users) + 1


def test_operator_levers_of_the_record_weigh_in_an_evaluation(world: World) -> None:
    silenced = playbook("everyone").model_copy(update={"weight": 0.0})
    world.publish(silenced)
    greedy = {"kind": "epsilon_greedy", "epsilon": {"start": 0.0, "floor": 0.0, "half_life": 1}}
    version = cold_start(spec(exploration=greedy, prior={"intercept": 0.5}), VOCABULARIES, START, after=None)
    world.decide(version.serve(), START)
    RewardService(world.database).mature(START + WINDOW)
    seen = see_again(world.database, version, after=0)
    # With all values weighed down to 0, every arm ties with doing nothing.
    np.testing.assert_allclose(seen.candidate.chosen, 1 / (len(CATEGORIES) + 1))


def test_maturing_that_is_torn_apart_credits_each_decision_once(
    world: World, service: RewardService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for turn in range(6):
        world.decide(Fixed("MILK"), START, key=str(turn))
    world.live_a_fortnight(START)
    write, calls = world.database.write, 0

    def torn(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls % 2 == 0:
            raise ConnectionError("the cable was pulled")
        return write(*args, **kwargs)

    monkeypatch.setattr(world.database, "write", torn)
    for _ in range(20):
        try:
            service.mature(START + WINDOW)
        except ConnectionError:
            continue
    assert calls > 6
    assert len(world.rewards()) == 6 * len(USERS)
    with world.database.read() as connection:
        assert ledger.counts(connection)[Kind.REWARD] == {"matured": 6 * len(USERS)}


def run(world: World, made: Training, fortnights: int, start: datetime = START) -> PolicyVersion:
    service = RewardService(world.database)
    version = made.in_charge(start)
    for turn in range(fortnights):
        now = start + turn * WINDOW
        world.decide(version.serve(), now)
        world.live_a_fortnight(now)
        service.mature(now + WINDOW)
        version = made.learn(now + WINDOW)
    return version


def test_the_loop_learns_and_publishes_a_version_each_time(world: World) -> None:
    with training(world.database, spec()) as made:
        cold = made.in_charge(START)
        version = run(world, made, 6)
        assert made.learn(START + 7 * WINDOW) == version
    assert cold.version == "next_category@1"
    assert cold.trained == 0
    assert version.version == "next_category@7"
    assert version.parent == "next_category@6"
    values = [one for one in world.rewards().values() if one.arm != DO_NOTHING]
    assert version.trained == len(values)
    assert version.metrics["rows"] > 0
    first = [one.value for one in values if one.decided_at == START]
    last = [one.value for one in values if one.decided_at > START + 3 * WINDOW]
    assert np.mean(last) > np.mean(first) + 0.1
    with world.database.read() as connection:
        assert ledger.counts(connection)[Kind.CHANGE]["policy_published"] == 7
        assert version_repository.version(connection, version.version) == version
        with pytest.raises(UnknownVersion):
            version_repository.version(connection, "next_category@8")


@pytest.mark.parametrize(
    "learner",
    [
        {"kind": "vw"},
        {"kind": "vw", "loss": "logistic"},
        {"kind": "linear_gaussian"},
        {"kind": "linear_gaussian", "half_life": 100},
    ],
)
def test_two_runs_on_the_same_data_give_the_same_weights(tmp_path: Path, learner: dict[str, Any]) -> None:
    models = []
    for name in ("one", "two"):
        copy_migrated(tmp_path / f"{name}.db")
        database = Database(f"sqlite:///{tmp_path / name}.db")
        try:
            world = World(database)
            with training(database, spec(learner=learner)) as made:
                models.append(run(world, made, 3).model)
        finally:
            database.close()
    assert models[0] == models[1]


def test_how_rewards_are_paged_does_not_change_what_is_learnt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with training(world.database, spec()) as made:
        cold = made.in_charge(START)
        world.decide(cold.serve(), START)
        world.live_a_fortnight(START)
        RewardService(world.database).mature(START + WINDOW)
        whole = made.learn(START + WINDOW)
    monkeypatch.setattr("learning.lessons._PAGE", 17)
    # Another learning rate and back: the last one starts anew, from all rewards, in pages.
    with training(world.database, spec(learner={"kind": "vw", "learning_rate": 0.1})) as made:
        made.in_charge(START + WINDOW)
    with training(world.database, spec()) as made:
        paged = made.learn(START + WINDOW)
    assert paged.trained == whole.trained
    assert paged.through == whole.through
    assert paged.model == whole.model
    assert paged.metrics == pytest.approx(whole.metrics)


def test_a_version_that_could_not_be_served_is_not_published(world: World) -> None:
    good = cold_start(spec(), VOCABULARIES, START, after=None)
    world.database.write(lambda c: version_repository.insert_version(c, good, START), rows=2)
    nan = np.array(np.nan).tobytes()
    weights = np.zeros(7).tobytes()
    for model in (good.model.replace(weights, nan + weights[8:]), b"rubbish"):
        broken = msgspec.structs.replace(good, version="next_category@2", number=2, model=model)
        with pytest.raises(BrokenWeights):
            world.database.write(partial(version_repository.insert_version, new=broken, now=START), rows=2)
    with world.database.read() as connection:
        assert version_repository.latest_version(connection, "next_category") == good


def test_logged_decisions_replay_and_score_again_from_the_record(world: World) -> None:
    with training(world.database, spec()) as made:
        version = run(world, made, 2)
    policy = version.serve()
    ids = world.decide(policy, START + 3 * WINDOW)
    with world.database.read() as connection:
        recorded = repository.decisions(connection, ids)
    again = PolicyVersion.from_bytes(version.to_bytes()).serve()
    arms = list(world.library.arms.values())
    assert len(recorded) == len(USERS)
    for decision in recorded.values():
        assert replay(decision, again) == decision
        np.testing.assert_allclose(again.score(decision.features, arms), decision.scores, rtol=0, atol=1e-12)


def test_a_posterior_is_learnt_drawn_from_and_replayed(world: World) -> None:
    drawing = {"kind": "thompson", "draws": 200, "floor": {"start": 0.1, "floor": 0.02, "half_life": 100}}
    with training(world.database, spec(learner={"kind": "linear_gaussian"}, exploration=drawing)) as made:
        cold = made.in_charge(START)
        version = run(world, made, 6)
    assert version.version == "next_category@7"
    values = [one for one in world.rewards().values() if one.arm != DO_NOTHING]
    first = [one.value for one in values if one.decided_at == START]
    last = [one.value for one in values if one.decided_at > START + 3 * WINDOW]
    assert np.mean(last) > np.mean(first) + 0.1
    spreads = []
    for one in (cold, version):
        ids = world.decide(one.serve(), START + 7 * WINDOW, key=one.version)
        with world.database.read() as connection:
            recorded = repository.decisions(connection, ids)
        # Whatever became of the weights, record and exploration are enough.
        bare = msgspec.structs.replace(one, model=cold.model).serve()
        for decision in recorded.values():
            assert len(decision.deviations) == len(decision.scores)
            assert replay(decision, bare) == decision
            other = [decision.deviations[0] * 2 + 0.5, *decision.deviations[1:]]
            assert replay(msgspec.structs.replace(decision, deviations=other), bare) != decision
        spreads.append(np.mean([decision.deviations for decision in recorded.values()]))
    assert spreads[1] < spreads[0] / 3
    # From within a fortnight: its decisions are left out, those of the next are judged on.
    within = version.through - len(USERS) - 50
    assert evaluate_decisions(world.database, cold, after=within).diagnostics.rounds == len(USERS)


@pytest.mark.parametrize(
    ("exploration", "expected"),
    [
        ({"kind": "fixed_split", "shares": {"everyone/o0": 3, "everyone/o2": 1}}, [0.75, 0.25]),
        ({"kind": "single", "variant": "everyone/o2"}, [0.0, 1.0]),
    ],
)
def test_a_fixed_policy_is_served_replayed_and_judged_but_never_learns(
    world: World, exploration: dict[str, Any], expected: list[float]
) -> None:
    fixed = PolicySpec.model_validate(
        {"id": "fixed", "placements": ["outbound"], "exploration": exploration, "reward": {"high": 1}}
    )
    with training(world.database, fixed) as made:
        version = run(world, made, 2)
        assert version == made.in_charge(START)
    assert (version.version, version.trained) == ("fixed@1", 0)
    ids = world.decide(version.serve(), START + 3 * WINDOW)
    with world.database.read() as connection:
        recorded = repository.decisions(connection, ids)
    for decision in recorded.values():
        assert replay(decision, version.serve()) == decision
        shares = dict(zip(decision.arms, decision.probabilities, strict=True))
        assert [shares["everyone/o0"], shares["everyone/o2"]] == pytest.approx(expected)
    result = evaluate_decisions(world.database, version)
    earned = np.mean([one.value for one in world.rewards().values()])
    assert result.estimates["dr"].value == pytest.approx(earned, abs=0.02)
    assert result.diagnostics.mean_weight.value == pytest.approx(1.0)
    if fixed.exploration.kind == "fixed_split":
        found = own_experiment(world.database, version.version, "everyone/o2")
        assert [arm.arm for arm in found.arms] == ["everyone/o0", "everyone/o2"]
        assert sum(arm.decisions for arm in found.arms) == 2 * len(USERS)
        assert found.sample_ratio.ok
        assert len(found.days) == 2
        low, high = found.comparisons[0].interval
        assert low <= found.comparisons[0].value <= high
    else:
        with pytest.raises(NoExperiment, match="explores by single"):
            own_experiment(world.database, version.version)


def test_a_changed_specification_starts_anew_and_learns_from_all_rewards(world: World) -> None:
    with training(world.database, spec()) as made:
        before = run(world, made, 2)
    other = spec(learner={"kind": "linear_gaussian"}, prior={"intercept": 0.2, "weights": {"rate": 0.5}})
    with training(world.database, other) as made:
        fresh = made.in_charge(START + 3 * WINDOW)
        learnt = made.learn(START + 3 * WINDOW)
    assert fresh.version == "next_category@4"
    assert fresh.parent == before.version
    assert fresh.trained == 0
    assert learnt.version == "next_category@5"
    assert learnt.trained == before.trained


def test_rewards_outside_the_bounds_publish_nothing(database: Database) -> None:
    world = World(database, playbook("everyone", value=5.0))
    with training(database, spec()) as made:
        with pytest.raises(InvalidRows, match="target"):
            run(world, made, 1)
        assert made.in_charge(START + WINDOW).version == "next_category@1"


def test_only_one_can_publish_a_version(world: World) -> None:
    first = cold_start(spec(), VOCABULARIES, START, after=None)
    world.database.write(lambda c: version_repository.insert_version(c, first, START), rows=2)
    with pytest.raises(VersionTaken):
        world.database.write(lambda c: version_repository.insert_version(c, first, START), rows=2)
    with world.database.read() as connection:
        assert ledger.counts(connection)[Kind.CHANGE]["policy_published"] == 1


def test_a_candidate_is_judged_on_rounds_it_has_not_seen(world: World) -> None:
    with training(world.database, spec()) as made:
        young = run(world, made, 2)
        old = run(world, made, 6, START + 2 * WINDOW)
        assert old.number == 9
    result = evaluate_decisions(world.database, young)
    seen = see_again(world.database, young, after=young.through)
    truth = _true_value(world, young)
    found, (low, high) = result.diagnostics, bounds(result, "dr")
    assert found.rounds == len(seen.log) == 6 * len(USERS)
    assert found.users == len(USERS)
    assert low <= truth <= high
    assert high - low < 0.15
    assert found.mean_weight.value == pytest.approx(1.0, abs=0.1)
    assert found.doubts == []
    with pytest.raises(SeenInTraining):
        evaluate_decisions(world.database, young, after=0)
    with pytest.raises(SeenInTraining):
        evaluate_decisions(world.database, young, old, after=young.through)
    with pytest.raises(InvalidRounds):
        evaluate_decisions(world.database, old)


def test_a_policy_judged_on_its_own_log_is_worth_what_it_earned(world: World) -> None:
    with training(world.database, spec()) as made:
        version = made.in_charge(START)
        world.decide(version.serve(), START)
        world.live_a_fortnight(START)
        RewardService(world.database).mature(START + WINDOW)
    result = evaluate_decisions(world.database, version)
    earned = np.mean([one.value for one in world.rewards().values()])
    assert result.diagnostics.mean_weight.value == pytest.approx(1.0)
    assert result.estimates["dr"].value == pytest.approx(earned, abs=0.02)
    assert result.difference.value == pytest.approx(0.0, abs=1e-9)
    assert result.verdict == "not distinguishable"


def bounds(result: Evaluation, estimator: str) -> tuple[float, float]:
    """Return the interval that was picked for an estimator."""
    low, high = result.estimates[estimator].interval or (None, None)
    assert low is not None
    assert high is not None
    return low, high


def _true_value(world: World, version: PolicyVersion) -> float:
    """What the policy earns a decision, from the chances that only this test knows."""
    policy, arms = version.serve(), list(world.library.arms.values())
    value = 0.0
    for user in USERS:
        values = np.append(policy.score(world.features(user), arms), 0.0)
        vector = policy.explore(Stakes([*world.library.arms, DO_NOTHING], values, None, ("", user, "", "")))
        value += float(vector[:-1] @ world.chances[user])
    return value / len(USERS)


def test_decisions_whose_rivals_still_wait_are_not_judged_on(world: World) -> None:
    rewards = RewardService(world.database)
    with training(world.database, spec()) as made:
        version = made.in_charge(START)
        for day in range(21):
            world.decide(version.serve(), START + timedelta(days=day))
        rewards.mature(START + timedelta(days=21))
        found = evaluate_decisions(world.database, version)
        # Doing nothing has matured of all 21 days, the arms of 8.
        assert found.diagnostics.rounds == 8 * len(USERS)
        assert all(one.ok for one in found.diagnostics.propensity_calibration)
        with world.database.read() as connection:
            seen = repository.rewards_after(connection, 0, limit=10_000)[-1][0]
        for day in range(21, 28):
            world.decide(version.serve(), START + timedelta(days=day))
        rewards.mature(START + timedelta(days=42))
    # The arms of the days before were seen only in part before.
    later = evaluate_decisions(world.database, version, after=seen).diagnostics
    assert later.rounds == 7 * len(USERS)
    assert all(one.ok for one in later.propensity_calibration)
    earlier = evaluate_decisions(world.database, version, until=seen).diagnostics
    assert earlier.rounds == 8 * len(USERS)
