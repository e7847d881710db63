"""How fast the relay hands over to a gateway, against the bare HTTP client at the same concurrency."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx2
import msgspec

from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.errors import BenchmarkError
from benchmarks.handing_over import Phones, begin, gateway, plans, running_sandbox
from delivery.channels.management import Management, Rate
from delivery.models import Report
from delivery.sandbox.running import TOKEN
from delivery.service import Delivery
from storage.clock import SystemClock
from storage.engine import Database

MESSAGES, CONCURRENCY, REPEATS = 2_000, 8, 5
# Faster than anything here: that it is looked at costs, that it holds does not.
_RATE = Rate(messages=1_000_000)


def measure(folder: Path, _say: Say) -> Sequence[Pair]:
    """Return pairs of messages a second; each time with new messages and a new database."""
    names = itertools.count()
    with running_sandbox() as port:
        url = f"http://127.0.0.1:{port}/sms/messages"
        return alternate(
            lambda: through_the_relay(folder / f"{next(names)}.db", url), lambda: past_it(url), REPEATS
        )


def through_the_relay(path: Path, url: str) -> float:
    """Hand over messages that wait in the outbox, and record it; return how many a second.

    Raises:
        BenchmarkError: not every message was handed over.
    """
    clock = SystemClock()
    users = [f"u{number:05}" for number in range(MESSAGES)]
    with closing(Database(f"sqlite:///{path}")) as database:
        delivery = Delivery(
            database,
            clock,
            plans("sms"),
            {"sms": gateway(database, url)},
            lambda *_: None,
            addresses=Phones(),
            management={"sms": Management(concurrency=CONCURRENCY, rate=_RATE)},
        )
        begin(database, clock, delivery, 1, users)
        delivery.executor.advance_due()
        started = time.perf_counter()
        done = delivery.run_until_idle()
        seconds = time.perf_counter() - started
    if done != Report(sent=MESSAGES):
        raise BenchmarkError(f"of {MESSAGES} messages the relay says {done}")
    return MESSAGES / seconds


def past_it(url: str) -> float:
    """Post the same messages with the bare client; return how many a second."""
    body = msgspec.json.encode({"to": "+4915112345678", "text": "Hello u00000: 10 % off milk"})
    headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    with httpx2.Client() as client, ThreadPoolExecutor(CONCURRENCY) as pool:
        started = time.perf_counter()
        moment = time.time_ns()

        def post(number: int) -> bool:
            keyed = {**headers, "idempotency-key": f"{moment}-{number}"}
            return client.post(url, content=body, headers=keyed).is_success

        taken = sum(pool.map(post, range(MESSAGES)))
        seconds = time.perf_counter() - started
    if taken != MESSAGES:
        raise BenchmarkError(f"of {MESSAGES} messages the gateway took {taken}")
    return MESSAGES / seconds


HANDOVER_GATEWAY = Benchmark(
    name="handover_gateway",
    measures="Messages claimed from the outbox, filled, posted to the sandbox gateway and recorded.",
    against=f"The bare HTTP client, httpx2, posting the same at the same concurrency ({CONCURRENCY}).",
    unit="messages/s",
    bound=Bound("ratio", ">=", 0.5),
    run=measure,
)
