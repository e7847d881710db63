"""Events a second over HTTP, in batches of a hundred, against the same service taking them without HTTP."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.appends import Order, orders
from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.errors import BenchmarkError
from benchmarks.http_load import Requests, run_apart
from benchmarks.schedule import Schedule
from benchmarks.shop import NOW, SEED, write_library
from storage.ids import new_id

if TYPE_CHECKING:
    from decision.wiring import Service

EVENTS = 10_000
BATCH = 100
# Batches that wait for their answer at once: both ways keep the writer as busy.
UNDER_WAY = 8
REPEATS = 5
# A rate that nothing reaches, so that a batch is always due.
_AT_ONCE = 1e6


def measure(folder: Path, _say: Say) -> Sequence[Pair]:
    """Return pairs of events a second, acknowledged and durable, of one running service."""
    new = orders(EVENTS)
    with served(folder / "data") as (service, port, key):
        return alternate(
            lambda: over_http(service, new, port, key), lambda: in_process(service, new), REPEATS
        )


def over_http(service: Service, new: Sequence[Order], port: int, key: str) -> float:
    """Send all events from a process of its own; return events a second."""
    bodies = list(batches(new))
    before = _recorded(service)
    load = run_apart(Requests(port, "/v1/batch", bodies, key=key), Schedule(_AT_ONCE, len(bodies)), UNDER_WAY)
    _check(service, before, load.errors)
    return load.rate * BATCH


def in_process(service: Service, new: Sequence[Order]) -> float:
    """Hand the same events to the intake as they come out of a request; return events a second."""
    from audiences.tracking.messages import parse_batch  # noqa: PLC0415 - as the service imports it

    parsed = [parse_batch(body, NOW, SEED).events for body in batches(new)]
    before = _recorded(service)
    waiting: deque[Future[Any]] = deque()
    started = time.perf_counter()
    for events in parsed:
        if len(waiting) == UNDER_WAY:
            waiting.popleft().result()
        waiting += service.intake.submit(events)
    for future in waiting:
        future.result()
    seconds = time.perf_counter() - started
    _check(service, before, 0)
    return len(new) / seconds


def batches(new: Sequence[Order]) -> Iterator[bytes]:
    """Yield the bodies of `/v1/batch` for these orders, under ids that were never sent before."""
    for start in range(0, len(new), BATCH):
        messages = [_message(order) for order in new[start : start + BATCH]]
        yield msgspec.json.encode({"batch": messages, "sentAt": NOW})


def _message(order: Order) -> dict[str, Any]:
    """As Segment's Python client writes it."""
    return {
        "type": "track",
        "messageId": new_id(NOW),
        "userId": order.user_id,
        "event": "order_completed",
        "timestamp": NOW,
        "context": {"library": {"name": "analytics-python", "version": "2.4.0"}},
        "integrations": {},
        "properties": order.properties,
    }


@contextmanager
def served(data: Path) -> Iterator[tuple[Service, int, str]]:
    """Give a service of this process with its HTTP server in a thread, as `nextplay serve` has it."""
    import socket  # noqa: PLC0415 - with the next, the machinery of a server
    import threading  # noqa: PLC0415

    import uvicorn  # noqa: PLC0415
    from pydantic import SecretStr  # noqa: PLC0415

    from decision.app import create_app  # noqa: PLC0415 - imports Feast, seconds
    from decision.auth.models import mint  # noqa: PLC0415
    from decision.settings import Settings  # noqa: PLC0415
    from decision.wiring import Service  # noqa: PLC0415

    write_library(data / "library")
    key = str(mint())
    settings = Settings(data=data, clock=NOW, seed=SEED, schedule=False, admin_key=SecretStr(key))
    service = Service(settings)
    server = uvicorn.Server(uvicorn.Config(create_app(service), log_config=None, access_log=False))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield service, listening.getsockname()[1], key
    finally:
        server.should_exit = True
        thread.join()
        service.close()


def _recorded(service: Service) -> int:
    from storage import ledger  # noqa: PLC0415
    from storage.ledger import Kind  # noqa: PLC0415

    with service.database.read() as connection:
        return sum(ledger.counts(connection).get(Kind.EVENT, {}).values())


def _check(service: Service, before: int, errors: int) -> None:
    recorded = _recorded(service) - before
    if errors or recorded != EVENTS:
        raise BenchmarkError(
            f"{recorded} of {EVENTS} events were recorded and {errors} batches refused; "
            "the measurement is void"
        )


INGEST_HTTP = Benchmark(
    name="ingest_http",
    measures=f"Events acknowledged over HTTP in batches of {BATCH}, {UNDER_WAY} under way.",
    against="The same service taking the same events from a thread of its own process, without HTTP.",
    unit="events/s",
    bound=Bound("ratio", ">=", 0.3),
    run=measure,
)
