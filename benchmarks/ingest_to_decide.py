"""How long after an event is sent `decide` knows of it, with the service's jobs running by themselves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.errors import BenchmarkError
from benchmarks.shop import PLACEMENT, SEED, write_library

if TYPE_CHECKING:
    import httpx2

EVENTS = 100
SENDERS = 4
REPEATS = 3
# Between two looks; short beside what is measured, long enough to leave the service alone.
_LOOK_SECONDS = 0.01
_GIVE_UP_SECONDS = 20.0


def measure(folder: Path, _say: Say) -> Sequence[Pair]:
    """Return pairs of milliseconds: until the event is seen, and for the requests alone."""
    from decision.demo.client import running_service  # noqa: PLC0415 - an HTTP client, needed here only

    data = folder / "data"
    write_library(data / "library")
    with running_service(data, clock=None, seed=SEED, log=folder / "service.log") as client:
        return alternate(lambda: p99(client.http, until_seen), lambda: p99(client.http, once), REPEATS)


def p99(http: httpx2.Client, probe: Callable[[httpx2.Client], float]) -> float:
    """Probe `EVENTS` times from `SENDERS` threads; return the 99th percentile in milliseconds."""
    with ThreadPoolExecutor(SENDERS) as pool:
        seconds = sorted(pool.map(lambda _: probe(http), range(EVENTS)))
    return seconds[math.ceil(0.99 * len(seconds)) - 1] * 1000


def until_seen(http: httpx2.Client) -> float:
    """Send the first event of somebody nobody knew, and decide until the decision knows them."""
    user = f"user-{uuid4().hex}"
    started = time.perf_counter()
    _send(http, user)
    while not _known(http, user):
        if time.perf_counter() - started > _GIVE_UP_SECONDS:
            raise BenchmarkError(
                f"an event was not seen within {_GIVE_UP_SECONDS:g} s; the measurement is void"
            )
        time.sleep(_LOOK_SECONDS)
    return time.perf_counter() - started


def once(http: httpx2.Client) -> float:
    """Send such an event and decide once."""
    user = f"user-{uuid4().hex}"
    started = time.perf_counter()
    _send(http, user)
    _known(http, user)
    return time.perf_counter() - started


def _send(http: httpx2.Client, user: str) -> None:
    properties = {"value": 10.0, "categories": ["COFFEE"], "lines": []}
    message = {"userId": user, "event": "order_completed", "properties": properties}
    if http.post("/v1/track", json=message).json().get("accepted") != 1:
        raise BenchmarkError("an event was not accepted; the measurement is void")


def _known(http: httpx2.Client, user: str) -> bool:
    from decision.answers import FEATURES_MISSING  # noqa: PLC0415 - imports Feast, seconds

    answer = http.post("/v1/decide", json={"user_id": user, "placement": PLACEMENT}).json()
    return bool(answer["fallback"] != FEATURES_MISSING)


INGEST_TO_DECIDE = Benchmark(
    name="ingest_to_decide",
    measures=f"p99 of the time from sending an event until decide knows it, {SENDERS} senders, jobs running.",
    against="The requests alone: the event acknowledged, and one decision.",
    unit="ms",
    bound=Bound("value", "<=", 1000),
    run=measure,
)
