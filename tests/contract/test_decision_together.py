"""Blocks of decisions: each the one made of the user alone, caps and budgets exact; on both databases."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import pytest
from pydantic import TypeAdapter

from audiences.consent import repository as consent_repository
from audiences.consent.models import Channel, Consent, ConsentState
from audiences.features import Features
from audiences.identity.people import EveryoneAlone
from audiences.rules import Schema, Type
from audiences.service import set_tag
from audiences.triggers.definitions import ZonesSpec
from decision.answers import DecideAnswer, DecideRequest
from decision.batch import decide_batch
from decision.deadline import Deadline
from decision.decider import Decider
from decision.decision_log import DecisionLog
from decision.surroundings import Surroundings
from learning import version_repository
from learning.spec import PolicySpec
from learning.versions import cold_start
from playbooks.constraints.counting import UseLimit
from playbooks.constraints.documents import Cap, Constraint, MoneyBudget
from playbooks.constraints.rulebook import Rulebook
from playbooks.content.documents import Content
from playbooks.counters import Counters, SqlCounters, Wanted
from playbooks.decision import Decision
from playbooks.exploring import ExplorationBudget
from playbooks.guards import LoyalGuard
from playbooks.library import Draft, Library
from playbooks.matching import Snapshot
from playbooks.models import Rules
from playbooks.money import Money
from playbooks.offers import Offer
from storage import ledger
from storage.clock import Clock, SimulatedClock
from storage.engine import Database
from storage.ledger import Kind, NewFact
from tests.deciding import WEEK, Started, playbook

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
WORDS = ["tea", "milk", "bread"]
USERS = [f"user-{number}" for number in range(70)]
EXPLORATIONS: list[dict[str, Any]] = [
    {"kind": "epsilon_greedy", "epsilon": {"start": 0.3, "floor": 0.3, "half_life": 1}},
    {"kind": "softmax", "temperature": 0.05, "floor": {"start": 0.1, "floor": 0.1, "half_life": 1}},
    {"kind": "thompson", "draws": 100, "floor": {"start": 0.1, "floor": 0.1, "half_life": 1}},
]
SCHEMA = Schema(
    {
        "orders": Type.NUMBER,
        "city": Type.TEXT,
        "vip": Type.BOOL,
        "since": Type.TIMESTAMP,
        "rates": Type.NUMBERS,
    },
    tags=True,
    audiences=True,
)
CONSTRAINTS: list[Constraint] = TypeAdapter(list[Constraint]).validate_python(
    [
        {
            "kind": "eligibility",
            "id": "some",
            "rule": "orders > 2 OR city = 'Rome'",
            "for": {"playbooks": ["one"]},
        },
        {
            "kind": "applicability",
            "id": "day",
            "rule": "context.hour < 12 AND NOT coalesce(vip, FALSE)",
            "for": {"playbooks": ["two"]},
        },
        {
            "kind": "suitability",
            "id": "calm",
            "rule": "NOT tag('angry') OR in_audience('loyal')",
            "for": {"playbooks": ["three"]},
        },
        {"kind": "cap", "id": "weekly", "limit": 2, "window": "P7D"},
        {"kind": "cap", "id": "each", "limit": 1, "window": "day", "each": "offer"},
        {"kind": "cool_down", "id": "rest", "after": "conversion", "lasts": "PT2H"},
        {"kind": "hold", "id": "ticket", "opened_by": "opened", "closed_by": "closed"},
        {"kind": "consent", "id": "asked", "channels": {"mailbox": "email"}, "for": {"playbooks": ["four"]}},
        {"kind": "group", "id": "rivals", "playbooks": ["one", "two"]},
        {"kind": "fatigue", "id": "tired", "cost": "0.40 EUR", "half_life": "PT6H"},
        {"kind": "budget", "id": "ample", "amount": "900000.00 EUR", "period": "month"},
    ]
)


class Made:
    """Features that were made up; of `gone` nothing is known."""

    types: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        self._values = values

    def read(self, user_id: str) -> Features:
        values = self._values.get(user_id)
        return Features(values or {}, missing=values is None, as_of=None)

    def read_many(self, user_ids: Sequence[str]) -> list[Features]:
        return [self.read(user) for user in user_ids]


class Inside:
    """Audiences that were made up."""

    def __init__(self, inside: Mapping[str, frozenset[str]]) -> None:
        self._inside = inside

    def of(self, user_id: str) -> frozenset[str]:
        return self._inside.get(user_id, frozenset())


def spec_of(exploration: Mapping[str, Any]) -> PolicySpec:
    uncertain = exploration["kind"] == "thompson"
    return PolicySpec.model_validate(
        {
            "id": "p",
            "placements": ["home"],
            "costs": {"EUR": 0.01},
            "features": [
                {"one_hot": "arm.category"},
                {"name": "rate", "from": "rates", "at": "arm.category", "transform": ["raw", "sqrt"]},
                {"scalar": "orders", "transform": ["raw", "log1p"], "missing": True},
                {"product": ["category=tea", "orders"]},
            ],
            "learner": {"kind": "linear_gaussian"} if uncertain else {"kind": "vw"},
            "prior": {
                "intercept": 0.1,
                "weights": {"rate": 0.3, "category=tea*orders": 0.02, "orders": 0.01},
            },
            "exploration": exploration,
        }
    )


def library_of(*playbooks: Any, constraints: Sequence[Constraint] = ()) -> Library:
    offers = {
        word: Offer.model_validate(
            {
                "id": word,
                "name": word,
                "attributes": {"group": "g", "category": word},
                "kind": "fixed_amount",
                "value": f"{place + 1}.00 EUR",
            }
        )
        for place, word in enumerate(WORDS)
    }
    draft = Draft(playbooks, offers, {"notice": Content(id="notice", subject="s", body="b")})
    library = draft.publish({one.id: 1 for one in playbooks})
    return replace(library, rules=Rulebook(tuple(constraints), 1, SCHEMA))


def decider_of(
    database: Database,
    library: Library,
    exploration: Mapping[str, Any],
    features: Made,
    inside: Inside,
    counters: Counters | None = None,
    clock: Clock | None = None,
) -> Decider:
    version = cold_start(spec_of(exploration), {"category": WORDS}, NOW, after=None)
    database.write(lambda c: version_repository.insert_version(c, version, NOW), rows=2)
    counters = counters or SqlCounters(database)
    people = EveryoneAlone()
    return Decider(
        database,
        clock or SimulatedClock(NOW),
        features,
        inside,
        Started(),
        counters,
        Snapshot(
            library,
            version.serve(),
            "seed",
            holdout=0.1,
            guards=[LoyalGuard(loyal="loyal", newer="newer")],
            costs={"EUR": 0.01},
        ),
        mark_used=version_repository.mark_used,
        insiders={"user-7"},
        surroundings=Surroundings(database, counters, people, zones=ZonesSpec(feature="zone")),
    )


def made_up(chance: random.Random) -> tuple[dict[str, dict[str, Any]], dict[str, frozenset[str]]]:
    """Return features and audiences of users; of every tenth nothing is known."""
    features: dict[str, dict[str, Any]] = {}
    inside: dict[str, frozenset[str]] = {}
    for place, user in enumerate(USERS):
        if place % 10 == 9:
            continue
        rates = np.array([chance.random() * 3 for _ in WORDS], np.float32)
        features[user] = {
            "orders": chance.choice([None, 1, 2, 3, 7.5]),
            "city": chance.choice([None, "Rome", "Oslo"]),
            "vip": chance.choice([None, True, False]),
            "since": NOW - HOUR * chance.randrange(100),
            "rates": None if place % 13 == 0 else rates,
            "zone": chance.choice([None, "Asia/Tokyo"]),
        }
        inside[user] = frozenset(name for name in ("loyal", "newer", "odd") if chance.random() < 0.3)
    return features, inside


def happen(database: Database, counters: Counters, chance: random.Random) -> None:
    """Let users have tags, consents, events and uses."""

    def tell(connection: Any) -> None:
        facts = []
        for place, user in enumerate(USERS):
            if chance.random() < 0.3:
                set_tag(connection, user, "angry", "test", NOW - HOUR, None)
            if chance.random() < 0.5:
                said = Consent(user, "promotional", Channel.EMAIL, ConsentState.GRANTED, NOW - HOUR, "test")
                consent_repository.record(connection, [said], NOW)
            for name in ("opened", "closed", "order_completed"):
                if chance.random() < 0.2:
                    at = NOW - HOUR * chance.randrange(1, 5)
                    facts.append(NewFact(Kind.EVENT, f"{place}-{name}", name, user, at, {}))
            for number in range(chance.choice([0, 0, 0, 1, 2])):
                at = NOW - HOUR * chance.randrange(1, 200)
                wanted = Wanted(
                    f"old-{place}-{number}",
                    user,
                    [
                        UseLimit("cap.weekly", 99, WEEK),
                        UseLimit("cap.each", 99, WEEK, f"cap.each@{chance.choice(WORDS)}"),
                        UseLimit("fatigue.tired", 99, WEEK),
                    ],
                    for_good=True,
                )
                assert counters.reserve(wanted, at).keep(connection) is None
        ledger.append(connection, facts, NOW)

    database.write(tell)


@pytest.mark.parametrize("exploration", EXPLORATIONS[::2], ids=lambda one: one["kind"])
def test_each_decision_of_a_block_is_the_one_made_alone(
    database: Database, exploration: Mapping[str, Any]
) -> None:
    chance = random.Random(exploration["kind"])
    features, inside = made_up(chance)
    playbooks = [
        playbook("one").model_copy(update={"weight": 1.3}),
        playbook("two"),
        playbook("three").model_copy(update={"holdout": 0.3, "audience": None}),
        playbook("four").model_copy(update={"rules": Rules(suitability="since < now() - INTERVAL '1 day'")}),
        playbook("five", priority=-1),
        playbook("six").model_copy(update={"audience": "odd"}),
    ]
    library = library_of(*playbooks, constraints=CONSTRAINTS)
    counters = SqlCounters(database)
    happen(database, counters, chance)
    decider = decider_of(database, library, exploration, Made(features), Inside(inside), counters)
    keys = [f"key-{user}" for user in USERS]
    alone = [
        decider.make(
            decider.snapshot,
            DecideRequest(placement="home", user_id=user, dry_run=True),
            Deadline.after(None),
            key,
        ).decision
        for user, key in zip(USERS, keys, strict=True)
    ]
    answers = [one for part in decider.decide_many(USERS, "home", keys) for one in part.result()]
    log = DecisionLog(database, SimulatedClock(NOW))
    for one, answer in zip(alone, answers, strict=True):
        together = log.recorded(answer.decision_id)
        assert_same(one, together)
        assert (answer.variant, answer.fallback) == (one.arm, one.fallback)
        assert answer.propensity == pytest.approx(one.propensity, rel=0, abs=1e-12)
        assert {rule: list(names) for rule, names in one.suppressed.items()} == answer.suppressed
    assert all(log.replay(answer.decision_id).identical for answer in answers[::6])
    # What the block was to show is in it.
    rules = Counter(rule.partition(".")[0] for one in alone for rule in one.suppressed)
    assert rules.keys() >= {
        *("eligibility", "applicability", "suitability", "cap", "cool_down", "hold", "consent", "group"),
        *("holdout", "guard", "priority"),
    }
    assert {one.fallback for one in alone} == {None, "unknown_user"}
    assert any(one.fatigue for one in alone)
    assert sum(one.test for one in alone) == 1


@pytest.mark.parametrize("timeless", [True, False])
def test_what_one_block_found_holds_for_another_as_far_as_it_does(database: Database, timeless: bool) -> None:
    features, inside = made_up(random.Random(3))
    counters = SqlCounters(database)
    happen(database, counters, random.Random(4))
    fading = ("cool_down", "fatigue", "budget")
    some = [one for one in CONSTRAINTS if not timeless or one.kind not in fading]
    library = library_of(playbook("one"), playbook("two"), playbook("three"), constraints=some)
    clock = SimulatedClock(NOW)
    decider = decider_of(database, library, EXPLORATIONS[0], Made(features), Inside(inside), counters, clock)
    log = DecisionLog(database, clock)
    users, uses = USERS[:35], set[str]()
    for hours in (0, 90, 160):
        clock.move_to(NOW + hours * HOUR)
        # Twice, so that what the first found is there for the second, and some have used more since.
        for time in range(2):
            keys = [f"{hours}-{time}-{user}" for user in users]
            asked = [DecideRequest(placement="home", user_id=user, dry_run=True) for user in users]
            alone = [
                decider.make(decider.snapshot, request, Deadline.after(None), key).decision
                for request, key in zip(asked, keys, strict=True)
            ]
            answers = [one for part in decider.decide_many(users, "home", keys) for one in part.result()]
            for one, answer in zip(alone, answers, strict=True):
                assert_same(one, log.recorded(answer.decision_id))
            uses |= {f"{rule} {count}" for one in alone for rule, count in one.uses.items()}
    # Of the same user there was more and less with time.
    assert {"cap.weekly 1", "cap.weekly 2"} <= uses
    assert any("cap.weekly" in one.suppressed for one in alone)
    assert any("cap.weekly" not in one.suppressed for one in alone)


def assert_same(one: Decision, other: Decision) -> None:
    """Make sure that two records differ in their ids only, and in numbers by rounding."""
    for name in ("scores", "deviations", "costs", "probabilities"):
        assert getattr(other, name) == pytest.approx(list(getattr(one, name)), rel=0, abs=1e-12), name
    assert other.propensity == pytest.approx(one.propensity, rel=0, abs=1e-12)
    # As the log has it.
    told = msgspec.json.decode(msgspec.json.encode(one), type=Decision)
    assert plain(other) == plain(told)


def plain(decision: Decision) -> dict[str, Any]:
    """Return what of a record has to be equal; what users before took of a budget is known in a block."""
    decision = msgspec.structs.replace(
        decision, circumstances=msgspec.structs.replace(decision.circumstances, levels={})
    )
    rounded = ("decision_id", "propensity", "scores", "deviations", "costs", "probabilities")
    found = {name: one for name, one in msgspec.structs.asdict(decision).items() if name not in rounded}
    return {name: list(one) if isinstance(one, tuple) else one for name, one in found.items()}


def test_of_a_wrong_type_of_one_user_only_that_one_suffers(database: Database) -> None:
    features: dict[str, dict[str, Any]] = {
        user: {"orders": 3, "rates": np.ones(3, np.float32)} for user in USERS
    }
    for user in USERS[10:20]:
        features[user] = {"orders": "many", "rates": np.ones(3, np.float32)}
    features["user-4"] = {"orders": 3, "rates": np.ones(2, np.float32)}
    library = library_of(playbook("one"), playbook("two"), constraints=CONSTRAINTS)
    decider = decider_of(database, library, EXPLORATIONS[0], Made(features), Inside({}))
    alone = [
        decider.submit(DecideRequest(placement="home", user_id=user, dry_run=True)).result() for user in USERS
    ]
    answers = [one for part in decider.decide_many(USERS, "home") for one in part.result()]
    assert [one.fallback for one in answers] == [one.fallback for one in alone]
    assert [one.suppressed for one in answers] == [one.suppressed for one in alone]
    assert 5 < sum(one.fallback == "policy_broken" for one in answers) <= 11


def open_to_all(
    database: Database, *constraints: Constraint, budget: ExplorationBudget | None = None
) -> Decider:
    """Return a decider that knows everybody, with one playbook that nearly always gives something."""
    features = {user: {"orders": 3, "rates": np.ones(3, np.float32)} for user in USERS}
    given = playbook("one").model_copy(update={"exploration_budget": budget, "weight": 1000.0})
    library = library_of(given, constraints=constraints)
    return decider_of(database, library, EXPLORATIONS[1], Made(features), Inside({}))


def decided(decider: Decider, users: Sequence[str], key: str | None = None) -> list[tuple[str, DecideAnswer]]:
    found: list[tuple[str, DecideAnswer]] = []

    def take(users: Sequence[str], answers: Sequence[DecideAnswer]) -> None:
        found.extend(zip(users, answers, strict=True))

    decide_batch(decider, users, "home", take, key=key)
    return found


def test_a_cap_stays_what_it_is_when_a_user_comes_twice(database: Database) -> None:
    decider = open_to_all(database, Cap(id="weekly", limit=1, window=WEEK))
    given = Counter(user for user, one in decided(decider, USERS * 2) if one.offer is not None)
    assert set(given.values()) == {1}
    assert len(given) > 50


@pytest.mark.parametrize("amount", [4_000, 20_000])
def test_a_budget_is_never_overspent_and_is_minded_within_a_block(database: Database, amount: int) -> None:
    budget = MoneyBudget(kind="budget", id="small", amount=Money(amount, "EUR"), period="month")
    decider = open_to_all(database, budget)
    counters = SqlCounters(database)
    answers = [one for _, one in decided(decider, USERS * 3)]
    log = DecisionLog(database, SimulatedClock(NOW))
    records = [log.recorded(one.decision_id) for one in answers]
    cost = {f"one/{word}": 100 * (place + 1) for place, word in enumerate(WORDS)}
    spent = sum(cost[one.arm] for one in records if one.acts and not one.test)
    rules = decider.snapshot.library.rules
    (kept,) = rules.terms(decider.snapshot.library.playbooks[0]).spends
    assert 0.7 * amount < spent == counters.taken(kept.budget(NOW), NOW) <= amount
    assert counters.recount(NOW) == []
    # What is taken counts for those who come later in the block: nobody is drawn what there is no room for.
    assert not any(one.refused_by for one in records)
    # The small one is gone within the first wave, the larger one grows dear before.
    assert any("budget.small" in one.suppressed if amount == 4_000 else one.prices for one in records)
    assert all(log.replay(one.decision_id).identical for one in records[::15])


def test_what_exploring_costs_is_minded_by_the_next_of_a_block(database: Database) -> None:
    decider = open_to_all(database, budget=ExplorationBudget(amount=Money(20_000, "EUR")))
    answers = [one for _, one in decided(decider, USERS)]
    log = DecisionLog(database, SimulatedClock(NOW))
    records = [log.recorded(one.decision_id) for one in answers]
    free = [one for one in records if one.explored and not (one.narrowed or one.test)]
    assert 0 < sum(sum(one.explored.values()) for one in free) <= 20_000_000
    assert any(one.narrowed for one in records)
    assert len(free) > 5
    assert all(log.replay(one.decision_id).identical for one in records[::15])


def test_a_batch_that_was_interrupted_goes_on_and_decides_nobody_twice(database: Database) -> None:
    decider = open_to_all(database, Cap(id="weekly", limit=1, window=WEEK))
    users = [f"user-{number % 70}" for number in range(70)]
    taken: list[tuple[str, DecideAnswer]] = []

    class Killed(Exception): ...

    def stop(users: Sequence[str], answers: Sequence[DecideAnswer]) -> None:
        taken.extend(zip(users, answers, strict=True))
        raise Killed

    with pytest.raises(Killed):
        decide_batch(decider, users[:40], "home", stop, key="sunday")
    again = decided(decider, users, key="sunday")
    assert [user for user, _ in again] == users
    ids = {user: one.decision_id for user, one in again}
    assert ids.items() >= {user: one.decision_id for user, one in taken}.items()
    assert {user: one.decision_id for user, one in decided(decider, users, key="sunday")} == ids
    with database.read() as connection:
        assert len(ledger.latest(connection, Kind.DECISION, 500)) == len(users)


def test_what_a_block_that_failed_would_have_explored_is_not_minded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("nobody can say")

    decider = open_to_all(database, budget=ExplorationBudget(amount=Money(20_000, "EUR")))
    expected = [one for _, one in decided(decider, USERS[:8])]
    assert any(one.offer for one in expected)
    with monkeypatch.context() as patched:
        patched.setattr(SqlCounters, "reserve_many", broken)
        with pytest.raises(RuntimeError, match="nobody"):
            decided(decider, USERS[8:40])
    log, counters = DecisionLog(database, SimulatedClock(NOW)), SqlCounters(database)
    records = [log.recorded(one.decision_id) for one in expected]
    budget = ExplorationBudget(amount=Money(20_000, "EUR")).counted("one", NOW)
    ((_, later),) = decided(decider, USERS[40:41])
    levels = log.recorded(later.decision_id).circumstances.levels
    assert levels[budget.key] == sum(sum(one.explored.values()) for one in records if not one.test)
    assert levels[budget.key] <= counters.taken(budget, NOW)
