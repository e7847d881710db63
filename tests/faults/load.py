"""Clients that keep asking: backends send events and ask for decisions, an operator asks for jobs.

A request without an answer, or with one that says to try again, is sent again with the same ids until it is
answered, also over the deaths of the service.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import httpx2

from tests.faults.journal import Journal, SentEvent
from tests.faults.shopping import Shop

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
USERS = [f"user-{number:03}" for number in range(40)]
CATEGORIES = ("MARGARINES", "CHICKEN", "POTATOES", "SALAD MIX", "DRY NOODLES/PASTA")
EVENTS_WORKERS = 2
DECISION_WORKERS = 3
SHOPS = 2
# What is asked for between the deaths, the more often the more often it is named.
JOBS = ("deliver", "deliver", "deliver", "push", "features", "audiences", "reward", "learn")
_REPEATED = 0.15
_TIMEOUT_SECONDS = 20.0
# Statuses that say "try again": too much at once, the database is away, another process has the job.
_AGAIN = {409, 429, 503}


class Operation(Protocol):
    """One request, sent until it is answered."""

    def send(self, http: httpx2.Client) -> httpx2.Response: ...

    def answered(self, answer: Any) -> None: ...


class Batch:
    """A batch of events with known message ids."""

    def __init__(self, journal: Journal, messages: list[dict[str, Any]]) -> None:
        self._journal = journal
        self._messages = messages
        journal.send_events({one["messageId"]: SentEvent(one["userId"], one["event"]) for one in messages})

    def send(self, http: httpx2.Client) -> httpx2.Response:
        return http.post("/v1/batch", json={"batch": self._messages})

    def answered(self, answer: Any) -> None:
        self._journal.acknowledge_events([one["messageId"] for one in self._messages], answer)


class Ask:
    """A decision under an idempotency key."""

    def __init__(self, journal: Journal, key: str, user: str) -> None:
        self._journal, self._key, self._user = journal, key, user
        journal.ask_decision(key, user)

    def send(self, http: httpx2.Client) -> httpx2.Response:
        body = {"user_id": self._user, "placement": "outbound"}
        return http.post("/v1/decide", json=body, headers={"Idempotency-Key": self._key})

    def answered(self, answer: Any) -> None:
        self._journal.acknowledge_decision(self._key, answer)


class Job(NamedTuple):
    """One run of a job."""

    name: str

    def send(self, http: httpx2.Client) -> httpx2.Response:
        return http.post(f"/v1/jobs/{self.name}")

    def answered(self, answer: Any) -> None: ...


class Leap(NamedTuple):
    """The clock is set; back is refused, and a refusal is an answer."""

    to: datetime

    def send(self, http: httpx2.Client) -> httpx2.Response:
        response = http.put("/v1/clock", json={"now": self.to.isoformat()})
        return httpx2.Response(200, json={}) if response.status_code == httpx2.codes.CONFLICT else response

    def answered(self, answer: Any) -> None: ...


class Load:
    """The clients of one service, each a thread. They stand still unless `resume` was called."""

    def __init__(self, journal: Journal, connect: Callable[[], httpx2.Client], seed: str) -> None:
        self.journal = journal
        self.now = START
        self._connect = connect
        self._up = threading.Event()
        self._ending = threading.Event()
        self._jobs: Sequence[str | timedelta] = JOBS
        self._sent: list[dict[str, Any]] = []
        makers = [self._batch] * EVENTS_WORKERS + [self._ask] * DECISION_WORKERS + [self._job]
        makers += [partial(_call, Shop(journal, f"SHOP{number}")) for number in range(SHOPS)]
        self._threads = [
            threading.Thread(target=self._work, args=(make, random.Random(f"{seed}/{number}")), daemon=True)
            for number, make in enumerate(makers)
        ]
        self._idle = [threading.Event() for _ in self._threads]
        for thread in self._threads:
            thread.start()

    def resume(self, jobs: Sequence[str | timedelta] = JOBS) -> None:
        """Go on; `jobs` are asked for at random, a duration among them moves the clock."""
        self._jobs = jobs
        self._up.set()

    def pause(self) -> None:
        """Send nothing more for now; what is under way may still be answered."""
        self._up.clear()

    def finish(self, seconds: float = 120.0) -> None:
        """Have everything answered that was ever sent, and end.

        Raises:
            TimeoutError: something gets no answer.
        """
        self._ending.set()
        self._up.set()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            raise TimeoutError(
                f"clients still wait for an answer after {seconds} s: {self.journal.statuses.most_common(5)}"
            )

    def _work(self, make: Callable[[random.Random], Operation], chance: random.Random) -> None:
        waiting: Operation | None = None
        http = self._connect()
        while waiting is not None or not self._ending.is_set():
            if not self._up.wait(0.05):
                continue
            if waiting is None or (isinstance(waiting, Job) and waiting.name not in self._jobs):
                waiting = make(chance)
            try:
                response = waiting.send(http)
            except httpx2.TransportError:
                time.sleep(0.02)
                continue
            if response.status_code == httpx2.codes.OK:
                waiting.answered(response.json())
                waiting = None
                time.sleep(chance.uniform(0.0, 0.02))
                continue
            self.journal.status(
                response.request.method, response.request.url.path, response.status_code, response.text
            )
            if response.status_code not in _AGAIN and response.status_code < 500:
                waiting = None
            time.sleep(0.05)
        http.close()

    def _batch(self, chance: random.Random) -> Operation:
        return Batch(self.journal, [self._message(chance) for _ in range(chance.randint(1, 20))])

    def _message(self, chance: random.Random) -> dict[str, Any]:
        if chance.random() < _REPEATED and self._sent:
            # A client that is not sure sends a message again, as it was.
            return self._sent[chance.randrange(len(self._sent))]
        message_id = str(UUID(int=chance.getrandbits(128), version=4))
        user, name = chance.choice(USERS), chance.choice(("order_completed", "page_viewed"))
        at = self.now - timedelta(minutes=chance.uniform(0, 60))
        new = message(message_id, user, name, at, chance)
        self._sent.append(new)
        return new

    def _ask(self, chance: random.Random) -> Operation:
        old = self.journal.old_key(chance.random()) if chance.random() < _REPEATED else None
        if old is not None:
            return Ask(self.journal, *old)
        user = chance.choice(USERS) if chance.random() < 0.9 else f"stranger-{chance.randint(0, 99)}"
        return Ask(self.journal, str(UUID(int=chance.getrandbits(128), version=4)), user)

    def _job(self, chance: random.Random) -> Operation:
        job = chance.choice(list(self._jobs))
        if isinstance(job, str):
            return Job(job)
        if chance.random() < 0.1:
            return Leap(self.now - job)
        self.now += job
        return Leap(self.now)


def _call(shop: Shop, chance: random.Random) -> Operation:
    return shop.ask(chance, chance.choice(USERS))


def message(message_id: str, user: str, name: str, at: datetime, chance: random.Random) -> dict[str, Any]:
    """Return an event as a backend sends it; an order buys one or two categories."""
    bought = chance.sample(CATEGORIES, chance.randint(1, 2))
    lines = [{"category": one, "quantity": 1, "value": 2.5, "discount": 0.5} for one in bought]
    properties = {"value": 2.5 * len(lines), "categories": bought, "lines": lines}
    return {
        "type": "track",
        "messageId": message_id,
        "userId": user,
        "event": name,
        "timestamp": at.isoformat(),
        "properties": properties if name == "order_completed" else {"page": bought[0]},
    }
