"""The demo's year: ingest, select, decide, deliver, learn, one fortnight after the other."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from decision.demo.client import ServiceClient, running_service
from decision.demo.data import DECISION_WEEKS, CompleteJourney, start_of_week
from decision.kept_key import kept_key, write_secret
from decision.settings import SETTINGS_FILE
from storage.errors import ConfigurationError

PLACEMENT = "outbound"
LIBRARY = Path(__file__).parent / "library"
# How long an offer is good for; only then is its reward known.
WEEKS_OPEN = 2
END_WEEK = DECISION_WEEKS[-1] + WEEKS_OPEN


@dataclass
class Year:
    """What came back while the year was replayed; all of it can be read again from the ledger."""

    audience_sizes: list[tuple[int, dict[str, int]]] = field(default_factory=list)
    answers: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    jobs: dict[str, float] = field(default_factory=dict)


def prepare(target: Path, *, fresh: bool) -> Path:
    """Return the folder to work in; it becomes `target` by a rename when the demo is through.

    Raises:
        ConfigurationError: `target` holds an earlier run and `fresh` is not set.
    """
    if target.exists() and not fresh:
        raise ConfigurationError(
            f"{target} holds an earlier run: look at it with `make serve`, replace it with "
            "`make demo ARGS=--fresh`, or name another folder with --data"
        )
    unfinished = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    shutil.copytree(LIBRARY, unfinished / "library")
    return unfinished


def finish(unfinished: Path, target: Path, *, clock: datetime, seed: str) -> None:
    """Leave the settings under which the database goes on being served, and put it in its place."""
    lines = [
        f"NEXTPLAY_CLOCK={clock.isoformat()}",
        f"NEXTPLAY_SEED={seed}",
        "NEXTPLAY_SCHEDULE=false",
        f"NEXTPLAY_ADMIN_KEY={kept_key(unfinished)}",
    ]
    write_secret(unfinished / SETTINGS_FILE, "\n".join(lines) + "\n")
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)


def replay_year(
    journey: CompleteJourney,
    data: Path,
    seed: str,
    progress: Progress,
    weeks: Sequence[int] = DECISION_WEEKS,
) -> tuple[Year, dict[str, Any]]:
    """Replay the year through a service of its own and return what came back, with the ledger's summary.

    Args:
        weeks: the weeks at whose start decisions are made; the last one's rewards are waited for.
    """
    year = Year()
    end = weeks[-1] + WEEKS_OPEN
    with running_service(data, clock=start_of_week(1), seed=seed, log=data / "service.log") as service:
        fortnights = progress.add_task("fortnights", total=len(weeks) + 1)
        events = progress.add_task("events", total=journey.event_count(end))
        decisions = progress.add_task("decisions", total=len(weeks) * len(journey.households))
        take_events = _advancing(progress, events)
        service.move_clock(start_of_week(1))
        service.ingest(journey.identify_messages(), take_events)
        done = 1
        for week in (*weeks, end):
            service.move_clock(start_of_week(week))
            service.ingest(journey.orders(done, week), take_events)
            done = week
            for job in ("deliver", "reward", "learn"):
                _timed(year, service, job)
            if week in weeks:
                _decide_fortnight(year, service, journey, week, _advancing(progress, decisions))
            progress.advance(fortnights)
        return year, service.get("/v1/summary")


def _decide_fortnight(
    year: Year,
    service: ServiceClient,
    journey: CompleteJourney,
    week: int,
    progress: Callable[[int], None],
) -> None:
    for job in ("features", "audiences"):
        _timed(year, service, job)
    sizes = {audience["id"]: audience["size"] for audience in service.get("/v1/audiences")}
    year.audience_sizes.append((week, sizes))
    requests = [(str(one), PLACEMENT, f"week-{week}-household-{one}") for one in journey.households]
    started = time.monotonic()
    year.answers[week] = service.decide_all(requests, progress)
    year.jobs["decide"] = year.jobs.get("decide", 0.0) + time.monotonic() - started
    _timed(year, service, "deliver")


def _timed(year: Year, service: ServiceClient, job: str) -> None:
    started = time.monotonic()
    service.run(job)
    year.jobs[job] = year.jobs.get(job, 0.0) + time.monotonic() - started


def _advancing(progress: Progress, task: Any) -> Callable[[int], None]:
    return lambda number: progress.advance(task, number)


def progress_bars(console: Console | None = None) -> Progress:
    """Return the progress bars of the demo."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:>10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
