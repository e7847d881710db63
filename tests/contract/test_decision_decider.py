"""The decider in process: holdouts, dry runs, deadlines, context, explanations, keys; on both databases."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, func, select

from audiences.errors import TextUnfit
from audiences.features import Features
from audiences.rules import RuleError, Schema, parse
from decision.answers import DEADLINE, DecideAnswer, DecideRequest
from decision.batch import decide_batch
from decision.context import as_told, with_told
from decision.deadline import NEVER
from decision.decider import Decider
from decision.decision_log import DecisionLog
from decision.errors import BadRequest, KeyReused, WrongContext
from learning import version_repository
from learning.context import Told
from learning.errors import PolicySpecError
from learning.spec import PolicySpec
from learning.versions import PolicyVersion, cold_start
from playbooks.constraints.documents import Cap
from playbooks.constraints.rulebook import with_context
from playbooks.content.documents import Content
from playbooks.counters import SqlCounters
from playbooks.errors import UnknownPlacement
from playbooks.library import Draft, Library
from playbooks.library.loading import Loader
from playbooks.matching import Snapshot
from playbooks.models import Playbook, Rules
from playbooks.offers import Offer
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.schema import facts
from tests.deciding import WEEK, Everywhere, Started, playbook
from tests.publishing import publish

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
WORDS = ["tea", "milk"]
SPEC = PolicySpec.model_validate(
    {
        "id": "p",
        "placements": ["home"],
        "context": ["basket"],
        "features": [
            {"one_hot": "arm.category"},
            {"scalar": "basket", "scale": 0.01},
            {"scalar": "orders"},
            {"product": ["category=tea", "basket"]},
        ],
        "learner": {"kind": "vw"},
        "prior": {"intercept": 0.1, "weights": {"category=tea*basket": 0.5, "orders": 0.01}},
        "exploration": {
            "kind": "epsilon_greedy",
            "epsilon": {"start": 0.3, "floor": 0.3, "half_life": 1},
        },
    }
)


class Slow:
    """Features that take a while."""

    types: Mapping[str, Any] = MappingProxyType({})
    seconds = 0.0

    def read(self, user_id: str) -> Features:
        time.sleep(self.seconds)
        return Features({"orders": 3}, missing=False, as_of=None)

    def read_many(self, user_ids: Sequence[str]) -> list[Features]:
        return [self.read(user) for user in user_ids]


@pytest.fixture
def features() -> Slow:
    return Slow()


@pytest.fixture
def version(database: Database) -> PolicyVersion:
    made = cold_start(SPEC, {"category": WORDS}, NOW, after=None)
    database.write(lambda c: version_repository.insert_version(c, made, NOW), rows=2)
    return made


@pytest.fixture
def decider(database: Database, version: PolicyVersion, features: Slow) -> Decider:
    """One playbook that holds half of the users out, and one that is capped and goes first."""
    capped = playbook("first", Cap(id="few", limit=1, window=WEEK), priority=1)
    always = playbook("always").model_copy(update={"holdout": 0.5})
    return deciding(database, published(database, capped, always), version, features)


def published(database: Database, *playbooks: Playbook) -> Library:
    """Publish playbooks with an offer for each word."""
    offers = {word: Offer(id=word, name=word, attributes={"group": "g", "category": word}) for word in WORDS}
    draft = Draft(playbooks, offers, {"notice": Content(id="notice", subject="s", body="b")})
    return database.write(lambda connection: publish(connection, draft, NOW))


def deciding(
    database: Database,
    library: Library,
    version: PolicyVersion,
    features: Slow,
    told: Mapping[str, Told] = SPEC.told,
) -> Decider:
    return Decider(
        database,
        SimulatedClock(NOW),
        features,
        Everywhere(),
        Started(),
        SqlCounters(database),
        Snapshot(library, version.serve(), "seed"),
        mark_used=version_repository.mark_used,
        context=told,
    )


def ask(decider: Decider, user: str = "ann", key: str | None = None, **asked: Any) -> DecideAnswer:
    return decider.submit(DecideRequest(placement="home", user_id=user, **asked), key).result()


def decisions(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).where(facts.c.kind == "decision")).scalar_one()


def test_an_answer_says_what_the_user_is_held_out_from(database: Database, decider: Decider) -> None:
    log = DecisionLog(database, SimulatedClock(NOW))
    held = 0
    for number in range(12):
        user = f"user-{number}"
        while ask(decider, user).playbook != "first":
            continue
        answer = ask(decider, user)
        assert answer.suppressed["cap.first.few"] == ["first"]
        record = log.recorded(answer.decision_id)
        assert list(record.holdout) == list(answer.holdout)
        if answer.holdout:
            held += 1
            assert (list(answer.holdout), answer.variant) == (["holdout.always"], "do_nothing")
            assert log.replay(answer.decision_id).identical
    assert 0 < held < 12


def test_a_dry_run_leaves_no_trace(database: Database, decider: Decider) -> None:
    before = decisions(database)
    answers = [ask(decider, dry_run=True) for _ in range(30)]
    assert all(answer.dry_run for answer in answers)
    # Nothing is reserved: the cap of one never shows.
    assert {answer.playbook for answer in answers} - {None} == {"first"}
    assert all(not answer.suppressed.get("cap.first.few") for answer in answers)
    assert decisions(database) == before
    assert not ask(decider, key="key").dry_run


@pytest.mark.parametrize(("milliseconds", "seconds"), [(0, 0.0), (20, 0.05)])
def test_after_the_deadline_the_fallback_is_answered(
    database: Database, decider: Decider, features: Slow, milliseconds: int, seconds: float
) -> None:
    features.seconds = seconds
    answer = ask(decider, deadline_ms=milliseconds)
    assert (answer.fallback, answer.variant, answer.propensity) == (DEADLINE, "do_nothing", 1.0)
    record = DecisionLog(database, SimulatedClock(NOW)).recorded(answer.decision_id)
    assert record.fallback == DEADLINE
    assert ask(decider, deadline_ms=60_000).fallback is None


def test_a_deadline_that_passes_in_the_queue_reserves_and_starts_nothing(
    database: Database, decider: Decider
) -> None:
    asked = DecideRequest(placement="home", user_id="ann", deadline_ms=150)
    taken, held = threading.Event(), threading.Event()

    def hold(_: Connection) -> bool:
        taken.set()
        return held.wait(60)

    waiting = database.writer.submit(hold)
    # What waits for an answer would go first as long as the writer has not begun.
    assert taken.wait(60)
    answers = [decider.submit(asked) for _ in range(3)]
    time.sleep(0.15)
    held.set()
    waiting.result()
    # On Postgres nobody waits for another's transaction.
    if database.is_sqlite:
        assert {one.result().fallback for one in answers} == {DEADLINE}
        while ask(decider).playbook is None:
            continue


def test_context_is_read_recorded_and_checked(database: Database, decider: Decider) -> None:
    log = DecisionLog(database, SimulatedClock(NOW))
    for basket, score in ((100, 0.63), (0, 0.13), (None, 0.13)):
        answer = ask(decider, context={"basket": basket})
        record = log.recorded(answer.decision_id)
        assert record.features["basket"] == basket
        scores = dict(zip(record.arms, [*record.scores, 0.0], strict=True))
        tea = next(name for name in scores if name.endswith("/tea"))
        assert scores[tea] == pytest.approx(score)
        assert log.rescore(answer.decision_id).agrees
    with pytest.raises(WrongContext, match="reads no 'baskets', did you mean 'basket'"):
        ask(decider, context={"baskets": 1})
    with pytest.raises(WrongContext, match="must be finite"):
        ask(decider, context={"basket": float("nan")})


def test_rules_ask_for_what_a_request_tells(database: Database, version: PolicyVersion) -> None:
    rules = Rules(applicability="context.basket >= 50 AND context.placement = 'home'")
    one = playbook("big").model_copy(update={"rules": rules})
    schema = with_told(Schema({}), SPEC.told)
    published(database, one)
    with database.read() as read:
        library = Loader(schema=schema).load(read)
    decider = deciding(database, library, version, Slow())
    log = DecisionLog(database, SimulatedClock(NOW))
    told_by_requests: list[tuple[dict[str, float | bool | str | None], bool]] = [
        ({"basket": 50}, False),
        ({"basket": 49.5}, True),
        ({"basket": True}, True),
        ({"basket": None}, True),
        ({}, True),
    ]
    for context, stopped in told_by_requests:
        # One alone, and in a block: by the same rule.
        alone = ask(decider, context=context)
        request = DecideRequest(placement="home", user_id="bob", context=context)
        (answer,) = decider.submit_each([decider.ask(request, None, NEVER)], [None], "home").result()
        assert isinstance(answer, DecideAnswer)
        for told in (alone, answer):
            assert told.suppressed == ({"applicability.big": ["big"]} if stopped else {})
            assert log.replay(told.decision_id).identical
            assert log.recorded(told.decision_id).features["context.basket"] == context.get("basket")


@pytest.mark.parametrize(
    ("user", "what"),
    [
        ("a\x00b", r"the user's id has the character U\+0000"),
        ("a" * 256, "the user's id must have 1 to 255 characters, it has 256"),
        ("", "the user's id must have 1 to 255 characters, it has 0"),
        (7, "the user's id must be text, not 7"),
    ],
)
def test_an_id_that_nobody_can_have_is_refused(
    database: Database, decider: Decider, user: Any, what: str
) -> None:
    with pytest.raises(TextUnfit, match=what):
        ask(decider, user)
    with pytest.raises(TextUnfit, match=what):
        decider.ask(DecideRequest(placement="home", user_id=user), None, NEVER)
    assert decisions(database) == 0


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("", "must have 1 to 255 characters, it has 0"),
        ("k" * 10_000, "must have 1 to 255 characters, it has 10000"),
        ("a\x00b", r"has the character U\+0000"),
    ],
)
def test_a_key_that_cannot_be_one_is_refused(
    database: Database, decider: Decider, key: str, what: str
) -> None:
    with pytest.raises(BadRequest, match=what):
        decider.decide("ann", "home", key=key)
    assert decisions(database) == 0


def test_a_batch_for_nobody_names_a_placement_that_there_is(decider: Decider) -> None:
    with pytest.raises(UnknownPlacement, match="no playbook serves the placement 'hom'"):
        decide_batch(decider, [], "hom", lambda _users, _answers: None)


TOLD: dict[str, Told] = {
    "basket": "number",
    "country": "text",
    "member": "condition",
    "shelf": ["top", "low"],
}


def test_rules_ask_for_texts_and_conditions_that_a_request_tells(
    database: Database, version: PolicyVersion
) -> None:
    rule = "context.country IN ('DE', 'AT') AND context.member AND context.shelf <> 'low'"
    schema = with_told(Schema({}), TOLD)
    plan = playbook("big").model_copy(update={"rules": Rules(applicability=rule)})
    published(database, plan)
    with database.read() as read:
        library = Loader(schema=schema).load(read)
    decider = deciding(database, library, version, Slow(), TOLD)
    log = DecisionLog(database, SimulatedClock(NOW))
    contexts: list[dict[str, float | bool | str | None]] = [
        {"country": country, "member": member, "shelf": shelf}
        for country in ("DE", "AT", "de", "", "Ö\u2028'", None)
        for member in (True, False, None)
        for shelf in ("top", "low", None)
    ]
    asks = [
        decider.ask(DecideRequest(placement="home", user_id=f"user_{place}", context=context), None, NEVER)
        for place, context in enumerate(contexts)
    ]
    # So many that rules are asked over columns; and each alone.
    together = decider.submit_each(asks, [None] * len(asks), "home").result()
    for place, (context, of_block) in enumerate(zip(contexts, together, strict=True)):
        assert isinstance(of_block, DecideAnswer)
        alone = ask(decider, f"user_{place}", context=context, explain=True)
        holds = tuple(context.values()) in {("DE", True, "top"), ("AT", True, "top")}
        stopped = {} if holds else {"applicability.big": ["big"]}
        assert (of_block.suppressed, alone.suppressed) == (stopped, stopped)
        assert alone.explanation is not None
        assert alone.explanation.stopped == stopped
        record = log.recorded(of_block.decision_id)
        assert {name: record.features[f"context.{name}"] for name in context} == context
        assert log.replay(of_block.decision_id).identical


@pytest.mark.parametrize(
    ("context", "what"),
    [
        ({"country": 5}, r"context\.country: this must be text or null, not 5"),
        ({"country": True}, r"context\.country: this must be text or null, not true"),
        ({"country": "D\x00"}, r"context\.country: a text can't have the character U\+0000"),
        ({"member": 1}, r"context\.member: this must be true, false or null, not 1"),
        ({"member": "yes"}, r"context\.member: this must be true, false or null, not 'yes'"),
        ({"basket": "12"}, r"context\.basket: this must be a number, true, false or null, not '12'"),
        ({"basket": float("inf")}, r"context\.basket: this must be finite or null, not inf"),
        ({"shelf": "topp"}, r"context\.shelf: the policy knows no 'topp' there, did you mean 'top'\?"),
        ({"countri": "DE"}, r"context: the policy reads no 'countri', did you mean 'country'\?"),
    ],
)
def test_a_context_of_another_kind_is_refused_alone_and_with_others(
    context: dict[str, Any], what: str
) -> None:
    with pytest.raises(WrongContext, match=what):
        as_told(context, TOLD)


def test_rules_are_checked_against_what_is_told() -> None:
    schema = with_context(with_told(Schema({}), TOLD))
    for rule, what in {
        "context.country = 5": "context.country is text, but 5 is a number",
        "context.shelf = 'lower'": "lower",
        "context.basket": "condition",
        "context.contry = 'DE'": "did you mean",
    }.items():
        with pytest.raises(RuleError, match=what):
            parse(rule, schema)


def test_what_only_rules_ask_for_is_not_learned_from() -> None:
    document = SPEC.model_dump(by_alias=True)
    typed = PolicySpec.model_validate(document | {"context": TOLD})
    assert (typed.fingerprint, typed.told) == (SPEC.fingerprint, TOLD)
    assert PolicySpec.model_validate(typed.model_dump(mode="json", by_alias=True)) == typed
    for context, what in [
        ({"basket": "text"}, "'basket' is text, and features read numbers"),
        ({"basket": "number", "hour": "number"}, "rules know the 'hour' of every decision"),
        ({"basket": "txt"}, "not 'txt', did you mean 'text'"),
        ({"basket": "number", "shelf": []}, "at least 1 item"),
        ("basket", "names of numbers as a list"),
    ]:
        with pytest.raises(ValueError, match=what):
            PolicySpec.model_validate(document | {"context": context})


def test_context_that_no_feature_reads_is_refused() -> None:
    document = SPEC.model_dump(by_alias=True) | {"context": ["basket", "hour"]}
    with pytest.raises(ValueError, match="no feature reads 'hour'"):
        PolicySpec.model_validate(document)
    with pytest.raises((PolicySpecError, ValueError), match="more than once"):
        PolicySpec.model_validate(document | {"context": ["basket", "basket"]})
    without = PolicySpec.model_validate(SPEC.model_dump(by_alias=True) | {"context": []})
    assert without.fingerprint != SPEC.fingerprint


def test_an_explanation_adds_up(database: Database, decider: Decider, version: PolicyVersion) -> None:
    log = DecisionLog(database, SimulatedClock(NOW))
    while ask(decider, "bob").playbook != "first":
        continue
    answer = ask(decider, "bob", context={"basket": 100}, explain=True)
    told = answer.explanation
    assert told is not None
    assert told == log.explain(answer.decision_id)
    assert told.stopped["cap.first.few"] == ["first"]
    assert sum(one.probability for one in told.candidates) == pytest.approx(1)
    assert [one.arm for one in told.candidates if one.chosen] == [answer.variant]
    for one in told.candidates:
        assert one.value == one.score * one.weight - one.cost
        assert one.floor == pytest.approx(0.3 / len(told.candidates))
        assert one.probability >= one.floor - 1e-12
        assert one.parts is not None
        assert sum(one.parts.values()) == pytest.approx(one.score)
    assert ask(decider, "bob").explanation is None
    # Once the weights are gone, all but the parts is still told.
    tomorrow = msgspec.structs.replace(version, created_at=NOW + timedelta(days=1))
    for number in range(2, 6):
        keep = partial(version_repository.insert_version, new=tomorrow.numbered(number), now=NOW)
        database.write(keep, rows=2)
    database.write(lambda c: version_repository.let_go(c, NOW + timedelta(days=91)))
    again = log.explain(answer.decision_id)
    assert again.note is not None
    assert "90 days" in again.note
    assert all(one.parts is None for one in again.candidates if one.arm != "do_nothing")
    bare = [msgspec.structs.replace(one, parts=None) for one in told.candidates]
    assert [msgspec.structs.replace(one, parts=None) for one in again.candidates] == bare


def test_ten_thousand_requests_under_one_key_are_one_decision(database: Database, decider: Decider) -> None:
    asked = DecideRequest(placement="home", user_id="ann")
    futures = [decider.submit(asked, "one") for _ in range(10_000)]
    answers = [future.result() for future in futures] + [ask(decider, key="one") for _ in range(5)]
    assert len({answer.decision_id for answer in answers}) == 1
    assert decisions(database) == 1
    # While it is under way as well as afterwards, a key is not for another request.
    decider.submit(asked, "two")
    for key in ("two", "one"):
        with pytest.raises(KeyReused):
            ask(decider, "bob", key)
