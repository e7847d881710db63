"""A shop to measure in: the demo's library, users with a quarter of orders, features and audiences computed.

Everything is made by the service's own rooms; nothing reaches past them.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import yaml
from sqlalchemy import Connection

from audiences.events import Event
from delivery import repository
from delivery.models import Enrolment
from playbooks.decision import Decision
from storage import ledger
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.writer import TURN_ROWS

if TYPE_CHECKING:
    from decision.wiring import Service

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PLACEMENT = "outbound"
SEED = "bench"
# The clock moves in these steps; each makes one of `ROUND` parts of the waiting enrolments fall due.
STEP = timedelta(minutes=6)
DAY = timedelta(days=1)
ROUND = 10
_ORDERS = 8
# Fewer than may wait for the writer.
_EVENTS_AT_ONCE = 10_000
_WEEKS = 12
_COPIES_PER_WRITE = TURN_ROWS
# A flow that comes back to where it is: its enrolments wait, fall due, and wait again.
_WATCH = """
id: watch
name: Looks at its users every hour
placement: backlog
goal: {event: order_completed, window: PT1H}
variants:
  - {group: category, channel: mailbox, content: offer_notice}
flow:
  start: watching
  states:
    watching:
      {kind: wait_for_event, event: watch_ended, timeout: PT1H, on_event: over, on_timeout: watching}
    over: {kind: end, result: over}
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much work waits: enrolments that come due again and again, decisions whose windows close daily."""

    enrolments: int
    days: int
    decisions_a_day: int


def users(number: int) -> list[str]:
    """Return the ids of the shop's users."""
    return [f"user-{index}" for index in range(number)]


@contextmanager
def opened_shop(
    data: Path, number: int, stock: Callable[[Path], None] | None = None, *, online_url: str = ""
) -> Iterator[Service]:
    """Make a shop of `number` users in an empty folder and give its service, without HTTP.

    Args:
        stock: changes the library before it is read.
        online_url: of the server for features of now; empty: a file.
    """
    from decision.settings import Settings  # noqa: PLC0415 - with the next, imports Feast, seconds
    from decision.wiring import Service  # noqa: PLC0415

    write_library(data / "library")
    if stock is not None:
        stock(data / "library")
    service = Service(Settings(data=data, clock=NOW, seed=SEED, schedule=False, online_url=online_url))
    try:
        events = history(number, _categories(data / "library"))
        for start in range(0, len(events), _EVENTS_AT_ONCE):
            service.intake.take(events[start : start + _EVENTS_AT_ONCE])
        for job in ("features", "audiences", "deliver"):
            service.jobs.run(job)
        yield service
    finally:
        service.close()


def write_library(folder: Path) -> None:
    """Write the demo's library and the playbook of the backlog."""
    from decision.demo.run import LIBRARY  # noqa: PLC0415 - the demo draws plots

    shutil.copytree(LIBRARY, folder)
    add_watch(folder)


def add_watch(folder: Path) -> None:
    """Put the playbook of the backlog into a library, at a placement of its own."""
    (folder / "playbooks" / "watch.yaml").write_text(_WATCH, encoding="utf-8")
    policy = yaml.safe_load((folder / "policy.yaml").read_text(encoding="utf-8"))
    policy["placements"] += ["backlog"]
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy), encoding="utf-8")


def history(number: int, categories: Sequence[str]) -> list[Event]:
    """Return orders of `number` users over the last twelve weeks, oldest first."""
    chance = random.Random(7)  # noqa: S311 - chooses purchases, keeps no secret
    events = []
    for user_id in users(number):
        favourites = chance.sample(categories, 5)
        for _ in range(_ORDERS):
            moment = NOW - timedelta(weeks=_WEEKS) * chance.random()
            bought = sorted(set(chance.choices(favourites, k=3)))
            events.append(
                Event(new_id(moment), user_id, "order_completed", _basket(bought, chance), moment, NOW)
            )
    return sorted(events, key=lambda event: event.occurred_at)


def pile_up(
    service: Service, backlog: Backlog, decided_for: Sequence[str], placement: str = PLACEMENT
) -> None:
    """Decide for some users at a placement, then record copies of it as the standing backlog.

    The copies are as the service would have recorded them: enrolments that wait in the playbook `watch`,
    and decisions whose attribution windows close at the end of each day from now on.
    """
    decisions = [
        service.decisions.recorded(service.decider.decide(user_id, placement).decision_id)
        for user_id in decided_for
    ]
    enrolments = _waiting(service, backlog.enrolments)
    for start in range(0, len(enrolments), _COPIES_PER_WRITE):
        share = enrolments[start : start + _COPIES_PER_WRITE]
        service.database.write(partial(_enrol, new=share), rows=len(share))
    acting = [decision for decision in decisions if decision.playbook and decision.acts]
    library = service.decider.snapshot.library
    total = backlog.days * backlog.decisions_a_day
    copies = []
    for number in range(total):
        original = acting[number % len(acting)]
        window = library.newest(original.playbook or "").document.goal.window
        closes_at = NOW + DAY * (number // backlog.decisions_a_day + 1)
        copies.append(_copied(original, number, closes_at - window))
    for start in range(0, total, _COPIES_PER_WRITE):
        share_of_copies = copies[start : start + _COPIES_PER_WRITE]
        service.database.write(partial(_decide, new=share_of_copies), rows=len(share_of_copies))
    # Opens the attribution windows, so that what is measured later is their closing.
    service.jobs.run("reward")


def _waiting(service: Service, number: int) -> list[Enrolment]:
    watch = service.decider.snapshot.library.newest("watch")
    return [
        Enrolment(
            id=(enrolment_id := new_id(NOW)),
            user_id=f"waiting-{index}",
            playbook=watch.id,
            playbook_version=watch.version,
            decision_id=enrolment_id,
            arm=watch.arms[index % len(watch.arms)],
            state="watching",
            entered_at=(entered_at := NOW - ROUND * STEP * (1 - (index + 1) / number)),
            due_at=entered_at + ROUND * STEP,
            waiting_for="watch_ended",
            revision=1,
        )
        for index in range(number)
    ]


def _copied(original: Decision, number: int, decided_at: datetime) -> Decision:
    decision_id = new_id(decided_at)
    return msgspec.structs.replace(
        original,
        decision_id=decision_id,
        request_key=decision_id,
        user_id=f"decided-{number}",
        decided_at=decided_at,
    )


def _enrol(connection: Connection, new: Sequence[Enrolment]) -> None:
    repository.add_enrolments(connection, new)


def _decide(connection: Connection, new: Sequence[Decision]) -> None:
    facts = [
        NewFact(Kind.DECISION, one.decision_id, one.placement, one.user_id, one.decided_at, one)
        for one in new
    ]
    ledger.append(connection, facts, NOW)


def _categories(library: Path) -> list[str]:
    offers = yaml.safe_load((library / "offers.yaml").read_text(encoding="utf-8"))
    return [offer["attributes"]["category"] for offer in offers]


def _basket(bought: Sequence[str], chance: random.Random) -> dict[str, Any]:
    values = [round(chance.uniform(1, 9), 2) for _ in bought]
    lines = [
        {"category": category, "quantity": 1, "value": value, "discount": 0.0}
        for category, value in zip(bought, values, strict=True)
    ]
    return {"value": round(sum(values), 2), "categories": list(bought), "lines": lines}
