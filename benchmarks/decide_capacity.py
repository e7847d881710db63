"""How many decisions a second one process on one core holds, and how long they take at half of that.

The scenario: `wide_library`, features read from Valkey, keys checked, an idempotency key with none of the
requests, the log durable. The service has a core of its own; load, Valkey and the process of the jobs have
the other one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from benchmarks import wide_library
from benchmarks.benchmark import Benchmark, Bound, Pair, Say
from benchmarks.capacity import HELD_P99, HELD_SECONDS, capacity
from benchmarks.errors import BenchmarkError
from benchmarks.http_load import Requests, run_apart
from benchmarks.online_store import valkey
from benchmarks.schedule import Latencies, Schedule
from benchmarks.shop import NOW, SEED, opened_shop, users

if TYPE_CHECKING:
    from decision.demo.client import ServiceClient, ServiceProcess
    from decision.wiring import Service

# Where features are read from.
Stores = Literal["valkey", "embedded"]
USERS = 20_000
REPEATS = 3
CONNECTIONS = 64
# Where the search begins, requests a second.
_GUESS, _BARE_GUESS = 500, 4_000
_LATENCY_SECONDS = 10
_FIRST, _LAST = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))


def measure(stores: Stores, folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of the rates that are held: decisions, and bare echoes, a second."""
    with deciding(folder, say, stores) as (_, requests), _bare() as echoed:
        pairs = []
        for _ in range(REPEATS):
            bare = capacity(partial(run_apart, echoed, connections=CONNECTIONS), _BARE_GUESS)
            ours = held(requests)
            say(f"{ours:,.0f} decisions a second are held, {bare:,.0f} bare echoes")
            pairs.append(Pair(ours, bare))
        return pairs


def latency(folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of p99 in milliseconds: of decisions at half of the capacity, and at a tenth of it."""
    with deciding(folder, say) as (_, requests):
        rate = held(requests)
        say(f"{rate:,.0f} decisions a second are held")
        return [
            Pair(latencies(requests, rate / 2).p99, latencies(requests, rate / 10).p99)
            for _ in range(REPEATS)
        ]


def held(requests: Requests) -> float:
    """Return how many decisions a second are held."""
    return capacity(partial(run_apart, requests, connections=CONNECTIONS), _GUESS)


def latencies(requests: Requests, rate: float, seconds: float = _LATENCY_SECONDS) -> Latencies:
    """Return what decisions at a rate met with, for so long.

    Raises:
        BenchmarkError: some were refused.
    """
    found = run_apart(requests, Schedule(rate, int(rate * seconds)), CONNECTIONS)
    if found.errors:
        raise BenchmarkError(f"{found.errors} decisions were refused; the measurement is void")
    return found


@contextmanager
def deciding(
    folder: Path,
    say: Say,
    stores: Stores = "valkey",
    stock: Callable[[Path], None] = wide_library.write,
    begin: Callable[[Service], None] | None = None,
) -> Iterator[tuple[ServiceClient, Requests]]:
    """Run a service on the first core, its jobs and everything else on the last; give requests to it.

    Args:
        stores: where its features are read from.
        stock: writes its library; `begin` is given the service before it serves.
    """
    from decision.demo.client import running_service  # noqa: PLC0415 - an HTTP client, needed here only

    with ExitStack() as opened:
        opened.enter_context(_on(_LAST))
        online = f"{opened.enter_context(valkey())}/0" if stores == "valkey" else ""
        say(f"makes a shop of {USERS:,} users, {wide_library.PLAYBOOKS} playbooks")
        with opened_shop(folder / "data", USERS, stock, online_url=online) as service:
            if begin is not None:
                begin(service)
        start = partial(_start, online)
        client = opened.enter_context(
            running_service(folder / "data", clock=NOW, seed=SEED, log=folder / "service.log", start=start)
        )
        port = int(client.http.base_url.port or 0)
        _move_children(_LAST)
        bodies = _bodies()
        _check(client.http.post("/v1/decide", content=_explained(bodies[0])).json())
        yield client, Requests(port, "/v1/decide", bodies, key=client.key)


def _bodies() -> list[bytes]:
    return [
        msgspec.json.encode({"user_id": user, "placement": wide_library.PLACEMENT}) for user in users(USERS)
    ]


def _explained(body: bytes) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(body), "explain": True})


def _check(answer: Mapping[str, object]) -> None:
    """Make sure that as many arms are eligible as is said."""
    explanation = answer.get("explanation")
    candidates = explanation["candidates"] if isinstance(explanation, dict) else []
    if len(candidates) != wide_library.ELIGIBLE + 1 or answer.get("fallback"):
        raise BenchmarkError(
            f"{len(candidates) - 1} arms were eligible, not {wide_library.ELIGIBLE}; the measurement is void"
        )


def _start(
    online: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
) -> ServiceProcess:
    """Start the service on the first core."""
    from decision.demo.client import start_process  # noqa: PLC0415 - as above

    with _on(_FIRST):
        return start_process(arguments, {**environment, "NEXTPLAY_ONLINE_URL": online}, log)


@contextmanager
def _bare() -> Iterator[Requests]:
    """Run the bare echo on the first core; give the same kind of requests to it."""
    command = [sys.executable, "-m", "benchmarks.bare_route"]
    with _on(_FIRST):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603 - our own command
    try:
        assert process.stdout is not None  # noqa: S101 - asked for above
        yield Requests(int(process.stdout.readline()), "/v1/decide", _bodies())
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _on(core: int) -> Iterator[None]:
    """Keep this thread, and what it starts, on a core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _move_children(core: int) -> None:
    """Let what the service has started run on another core than the service."""
    import psutil  # noqa: PLC0415 - looks at processes, needed here only

    (server,) = [one for one in psutil.Process().children() if "serve" in one.cmdline()]
    for child in server.children(recursive=True):
        for thread in child.threads():
            os.sched_setaffinity(thread.id, {core})


_HELD = f"holds for {HELD_SECONDS:g} s with a p99 of {HELD_P99:g} ms at most and no error"
_AGAINST = "A bare FastAPI route that reads and writes JSON with msgspec, held the same way."
DECIDE_CAPACITY = Benchmark(
    name="decide_capacity",
    measures=(
        f"The highest rate of decisions over HTTP that one process on one core {_HELD} "
        "(docs/how-to/benchmarks.md has the scenario)."
    ),
    against=_AGAINST,
    unit="decisions/s",
    bound=Bound("ratio", ">=", 0.2),
    run=partial(measure, "valkey"),
)
DECIDE_CAPACITY_EMBEDDED = Benchmark(
    name="decide_capacity_embedded",
    measures=(
        f"The highest rate of decisions that it {_HELD}, features from the embedded store, a SQLite file."
    ),
    against=_AGAINST,
    unit="decisions/s",
    bound=Bound("ratio", ">=", 0.2),
    run=partial(measure, "embedded"),
)
DECIDE_LATENCY = Benchmark(
    name="decide_latency",
    measures="p99 of a decision over HTTP at half of the measured capacity, in the same scenario.",
    against="The same at a tenth of the capacity.",
    unit="ms",
    bound=Bound("value", "<=", 10),
    run=latency,
)
