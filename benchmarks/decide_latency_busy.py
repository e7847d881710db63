"""How long decisions take while the executor has a standing backlog and the learner is never idle.

The scenario of `decide_capacity`, at half of what it holds while its jobs rest. Beside it the same requests
to the same service at rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import wide_library
from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.decide_capacity import REPEATS, deciding, held, latencies
from benchmarks.jobs_at_work import JobsAtWork
from benchmarks.schedule import Latencies
from benchmarks.shop import Backlog, add_watch, pile_up, users

if TYPE_CHECKING:
    from decision.wiring import Service

SECONDS = 4
# A day's rewards keep the learner at work for longer than a round takes; the first day is for warming up.
BACKLOG = Backlog(enrolments=20_000, days=REPEATS + 1, decisions_a_day=80_000)
# Users whose decisions those of the backlog are copies of.
_DECIDED_FOR = 200


def measure(folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of p99 in milliseconds, with executor and learner at work and at rest, of one service."""
    with deciding(folder, say, stock=_stock, begin=partial(_begin, say)) as (client, requests):
        rate = held(requests)
        say(f"{rate:,.0f} decisions a second are held at rest; half of them for {SECONDS} s a round:")
        work = JobsAtWork(str(client.http.base_url), client.key)

        def busy() -> float:
            work.pass_a_day()
            with work.going_on():
                found = latencies(requests, rate / 2, SECONDS)
            say(f"{_told(found)}; {work.told()}")
            return found.p99

        def at_rest() -> float:
            found = latencies(requests, rate / 2, SECONDS)
            say(f"{_told(found)} at rest")
            return found.p99

        return alternate(busy, at_rest, REPEATS)


def _told(found: Latencies) -> str:
    return f"{found.rate:,.0f} a second, p50 {found.p50:.1f} ms, p99 {found.p99:.1f} ms"


def _stock(library: Path) -> None:
    wide_library.write(library)
    add_watch(library)


def _begin(say: Say, service: Service) -> None:
    say(
        f"makes a backlog of {BACKLOG.enrolments:,} waiting enrolments and "
        f"{BACKLOG.days * BACKLOG.decisions_a_day:,} decisions"
    )
    pile_up(service, BACKLOG, users(_DECIDED_FOR), wide_library.PLACEMENT)


DECIDE_LATENCY_BUSY = Benchmark(
    name="decide_latency_busy",
    measures=(
        "p99 of a decision over HTTP at half of the capacity at rest, while the executor has a standing "
        "backlog and the learner is never idle."
    ),
    against="The same requests at the same rate while executor and learner have nothing to do.",
    unit="ms",
    bound=Bound("value", "<=", 10),
    run=measure,
)
