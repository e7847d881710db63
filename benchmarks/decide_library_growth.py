"""How much longer a decision takes with a hundred times as many live playbooks and as many eligible arms."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.errors import BenchmarkError
from benchmarks.shop import PLACEMENT, opened_shop, users

if TYPE_CHECKING:
    from decision.decider import Decider

FEW, MANY = 20, 2_000
# Two for each of the playbooks that everybody is eligible for.
ARMS = 40
AUDIENCES = 100
USERS, DECISIONS, REPEATS = 50, 200, 5


def measure(folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of microseconds for each decision: of the large library and of the small one."""
    with ExitStack() as opened:
        deciders = []
        for number in (MANY, FEW):
            say(f"imports {number:,} playbooks")
            service = opened.enter_context(
                opened_shop(folder / str(number), USERS, partial(_stock, playbooks=number))
            )
            deciders.append(service.decider)
        many, few = deciders
        for decider in deciders:
            _check(decider)
        return alternate(lambda: _decide(many), lambda: _decide(few), REPEATS)


def _stock(library: Path, playbooks: int) -> None:
    """Leave `FEW` playbooks for everybody, and the others for audiences that nobody is in."""
    folder = library / "playbooks"
    document: dict[str, Any] = yaml.safe_load((folder / "everyone.yaml").read_text(encoding="utf-8"))
    offers = yaml.safe_load((library / "offers.yaml").read_text(encoding="utf-8"))
    for path in folder.glob("*.yaml"):
        path.unlink()
    audiences = yaml.safe_load((library / "audiences.yaml").read_text(encoding="utf-8"))
    audiences["audiences"] += [
        {"id": f"nobody_{index}", "name": "Nobody", "rule": f"orders_12w > {10**6 + index}"}
        for index in range(AUDIENCES)
    ]
    (library / "audiences.yaml").write_text(yaml.safe_dump(audiences), encoding="utf-8")
    for number in range(playbooks):
        two = [offers[(2 * number + place) % len(offers)]["id"] for place in range(ARMS // FEW)]
        given = {
            "id": f"plan_{number}",
            "name": f"Plan {number}",
            "priority": 0,
            "variants": [{"offers": two, "channel": "mailbox", "content": "offer_notice"}],
            "constraints": [{"id": "few", "limit": 1_000, "window": "P7D"}],
        }
        if number >= FEW:
            given["audience"] = f"nobody_{number % AUDIENCES}"
        plan = {name: value for name, value in document.items() if name != "audience"} | given
        (folder / f"plan_{number}.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")


def _check(decider: Decider) -> None:
    """Make sure that both libraries have equally many arms in the draw."""
    from decision.answers import DecideRequest  # noqa: PLC0415 - imports Feast, seconds

    answer = decider.submit(DecideRequest(user_id=users(1)[0], placement=PLACEMENT, explain=True)).result()
    arms = len(answer.explanation.candidates) if answer.explanation else 0
    if arms != ARMS + 1 or answer.fallback:
        raise BenchmarkError(f"{arms - 1} arms were eligible, not {ARMS}; the measurement is void")


def _decide(decider: Decider) -> float:
    """Return microseconds a decision takes up to its record: dry runs, in which the disk has no part."""
    from decision.answers import DecideRequest  # noqa: PLC0415 - as in `_check`

    asked = users(USERS)
    started = time.perf_counter()
    for number in range(DECISIONS):
        request = DecideRequest(user_id=asked[number % USERS], placement=PLACEMENT, dry_run=True)
        decider.submit(request).result()
    return (time.perf_counter() - started) / DECISIONS * 1e6


DECIDE_LIBRARY_GROWTH = Benchmark(
    name="decide_library_growth",
    measures=f"A decision (dry run) among {ARMS} eligible arms while {MANY:,} playbooks are live.",
    against=f"The same while {FEW} are.",
    unit="µs",
    bound=Bound("ratio", "<=", 2),
    run=measure,
)
