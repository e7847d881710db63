"""How long a rehearsal takes over a million users."""

# ruff: noqa: S608 - the statements are constants

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection

from audiences.accounts.primary import NoAccounts
from audiences.features import Features
from audiences.identity.people import EveryoneAlone
from audiences.selection import repository as selection_repository
from audiences.selection.bitmaps import from_numbers
from audiences.selection.changes import Change
from audiences.selection.memberships import Memberships
from audiences.selection.repository import State
from audiences.triggers.definitions import Triggers, ZonesSpec
from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.errors import BenchmarkError
from decision.foresight.crowds import Crowds
from decision.foresight.inquiries import Inquiries
from decision.foresight.looking_into import LookingInto
from decision.foresight.rehearsing import Rehearsals, Wanted
from decision.surroundings import Surroundings
from delivery.recipients import Strangers
from feature_repo.aggregates import FeatureType
from learning.spec import PolicySpec
from learning.versions import cold_start
from playbooks.content.documents import Content
from playbooks.counters import SqlCounters
from playbooks.library import Draft
from playbooks.library.importing import import_library
from playbooks.library.loading import Loader
from playbooks.library.service import LibraryService
from playbooks.matching import Snapshot
from playbooks.models import Playbook
from playbooks.offers import Offer
from playbooks.rehearsal.repository import uses_since
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.times import to_micros

USERS = 1_000_000
PLAYBOOKS = 20
AUDIENCES = 10  # of half of the users each, beside one of all
ARMS = 10
USED = 400_000  # uses that count against caps
REPEATS = 3
LIMIT_SECONDS = 60
_NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
_DAY = timedelta(days=1)
_WEEK = "cap.plan_0.week"
_COUNTED = "WITH RECURSIVE counted(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counted WHERE i < ?) "
_USERS = _COUNTED + "INSERT INTO users SELECT 'u' || i, ? FROM counted"
_NUMBERS = "INSERT INTO audience_numbers (user_id) SELECT user_id FROM users ORDER BY user_id"
# Each user who has one use has one of a single playbook.
_USES = _COUNTED + (
    "INSERT INTO uses (user_id, rule, decision_id, used_at) "
    "SELECT 'u' || (2 * i), 'cap.plan_' || (i % ?) || '.week', 'd' || i, ? FROM counted"
)

_POLICY = {
    "id": "bench",
    "placements": ["outbound"],
    "features": [{"scalar": "orders"}],
    "prior": {"weights": {"orders": 0.1}},
    "learner": {"kind": "vw"},
    "exploration": {
        "kind": "epsilon_greedy",
        "epsilon": {"start": 0.1, "floor": 0.1, "half_life": 1000},
    },
}


def measure(folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of seconds: a rehearsal, and the uses that count read from the database, no more."""
    database = Database(f"sqlite:///{folder / 'rehearsal.db'}")
    try:
        _fill(database, say)
        rehearsals = _rehearsals(database)
        found = rehearsals.rehearse(Wanted(playbook="plan_0"))
        say(f"{found.audience.users:,} users in the audience, {found.left:,} left, {len(found.arms)} arms")
        stopped = {one.rule: one.users for one in found.stopped}
        if found.left + sum(stopped.values()) != USERS or stopped[_WEEK] != USED // PLAYBOOKS:
            raise BenchmarkError(f"the rehearsal is wrong ({stopped}); the measurement is void")
        return alternate(
            lambda: _seconds(lambda: rehearsals.rehearse(Wanted(playbook="plan_0"))),
            lambda: _seconds(lambda: _read(database)),
            REPEATS,
        )
    finally:
        database.close()


class Made:
    """Implements `audiences.features.FeatureReader`: how often a user ordered is told by the id."""

    types: Mapping[str, FeatureType] = {"orders": "float"}

    def read(self, user_id: str) -> Features:
        return Features({"orders": float(int(user_id[1:]) % 7)}, missing=False, as_of=_NOW)

    def read_many(self, user_ids: Sequence[str]) -> list[Features]:
        return [self.read(user_id) for user_id in user_ids]


class _Sizes:
    """Implements `playbooks.library.approval.Reach`: no threshold is set, so nobody asks."""

    def of(self, audience: str | None) -> int | None:
        return USERS


def _fill(database: Database, say: Say) -> None:
    """Make users, an audience of all and ten of half of them, live playbooks, and uses that count."""
    say(f"making {USERS:,} users who made {USED:,} uses")
    for statement, values in (
        (_USERS, (USERS, to_micros(_NOW))),
        (_NUMBERS, ()),
        (_USES, (USED, PLAYBOOKS, to_micros(_NOW - _DAY))),
    ):
        database.write(partial(_run, statement=statement, values=values))
    database.write(_audiences)
    database.write(
        lambda c: import_library(c, _draft(), _Sizes(), by="bench", source="api", now=_NOW, publish=True)
    )


def _run(connection: Connection, statement: str, values: tuple[int, ...]) -> None:
    connection.exec_driver_sql(statement, values)


def _audiences(connection: Connection) -> None:
    everybody = np.arange(1, USERS + 1)
    chance = np.random.default_rng(0)
    nothing = Change(from_numbers(np.empty(0, np.int64)), from_numbers(np.empty(0, np.int64)))
    for number in range(AUDIENCES + 1):
        inside = from_numbers(everybody if number == 0 else everybody[chance.random(USERS) < 0.5])
        selection_repository.stage(connection, f"some_{number}", "run", inside, nothing, quiet=False)
        state = State(f"some_{number}", "run", 1, "", _NOW, len(inside))
        selection_repository.make_live(connection, [state])


def _draft() -> Draft:
    offers = [Offer.model_validate(_offer(value)) for value in range(1, ARMS + 1)]
    playbooks = [Playbook.model_validate(_playbook(number)) for number in range(PLAYBOOKS)]
    content = Content(id="notice", subject="For you", body="{{ offer.name }}")
    return Draft(tuple(playbooks), {one.id: one for one in offers}, {content.id: content})


def _offer(value: int) -> dict[str, Any]:
    offer = {"id": f"off_{value}", "name": f"{value} off", "kind": "fixed_amount", "value": f"{value}.00 EUR"}
    return {**offer, "attributes": {"group": "off"}, "cost_model": {"redemption": 0.1}}


def _playbook(number: int) -> dict[str, Any]:
    """The first is for all, of the others each for half; a fourth go first, and every fifth is a pilot."""
    pilot = {"share": 0.3, "floor": 0.0, "ceiling": 1.0} if number % 5 == 4 else None
    return {
        "id": f"plan_{number}",
        "name": f"Plan {number}",
        "placement": "outbound",
        "audience": f"some_{number % (AUDIENCES + 1)}",
        "priority": int(number % 4 == 3),
        "goal": {"event": "order_completed", "window": "P7D"},
        "variants": [{"group": "off", "channel": "mailbox", "content": "notice"}],
        "constraints": [{"id": "week", "limit": 1, "window": "P7D"}],
        "pilot": pilot,
        "flow": {
            "start": "tell",
            "states": {"tell": {"kind": "send", "next": "over"}, "over": {"kind": "end", "result": "told"}},
        },
    }


def _rehearsals(database: Database) -> Rehearsals:
    clock = SimulatedClock(_NOW)
    memberships = Memberships()
    with database.read() as connection:
        memberships.load(connection)
        library = Loader("bench").load(connection)
    people = EveryoneAlone()
    looking = LookingInto(database, people, Made(), ZonesSpec())
    policy = cold_start(PolicySpec.model_validate(_POLICY), {}, _NOW, after=None).serve()
    return Rehearsals(
        clock,
        LibraryService(database, clock, lambda _: (), _Sizes()),
        lambda: Snapshot(library, policy, "bench"),
        Crowds(database, memberships, dict, NoAccounts(), looking),
        Inquiries(memberships, Made(), Surroundings(database, SqlCounters(database), people)),
        Strangers(),
        Triggers(ZonesSpec(), ()),
    )


def _read(database: Database) -> int:
    rules = [f"cap.plan_{number}.week" for number in range(PLAYBOOKS)]
    with database.read() as connection:
        return len(uses_since(connection, rules, _NOW - 7 * _DAY, _NOW).whose)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


REHEARSE_MILLION = Benchmark(
    name="rehearse_million",
    measures=(
        f"Dry run of a playbook over {USERS:,} users in SQLite, who made {USED:,} uses that count, among "
        f"{PLAYBOOKS} live playbooks with caps, {PLAYBOOKS // 5} of them pilots."
    ),
    against="The uses that count read from the database, and no more.",
    unit="s",
    bound=Bound("value", "<=", LIMIT_SECONDS),
    run=measure,
)
