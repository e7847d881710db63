"""`nextplay demo`, from an empty folder to a report."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from decision.demo.data import CompleteJourney, start_of_week
from decision.demo.measure import judge_candidate, read_truth, summarise
from decision.demo.page import funnel, render
from decision.demo.run import END_WEEK, finish, prepare, progress_bars, replay_year
from decision.settings import Settings
from storage.engine import Database


def run_demo(target: Path, *, seed: str, fresh: bool) -> None:
    """Run the demo into `target` and print what came of it.

    Raises:
        NextplayError: `target` holds an earlier run, the data is not installed, or the service failed;
            `target` is as it was.
    """
    console = Console()
    unfinished = prepare(target, fresh=fresh)
    try:
        summary = _run(console, unfinished, seed)
        finish(unfinished, target, clock=start_of_week(END_WEEK), seed=seed)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    _print(console, summary, target)


def _run(console: Console, unfinished: Path, seed: str) -> dict[str, Any]:
    started = time.monotonic()
    console.print(
        "nextplay demo: The Complete Journey, 2,469 households in 2017.\n"
        "The data is simulated from real shopping patterns by its publisher, 84.51°.\n"
    )
    journey = CompleteJourney()
    with progress_bars(console) as progress:
        year, counted = replay_year(journey, unfinished, seed, progress)
    database = Database(Settings(data=unfinished).url)
    try:
        truth = read_truth(database, journey)
        judged = judge_candidate(database, journey)
    finally:
        database.close()
    summary = summarise(counted, journey, truth, judged, time.monotonic() - started)
    page = render(summary, journey, year, truth)
    (unfinished / "report.html").write_text(page, encoding="utf-8")
    (unfinished / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(summary)) + b"\n")
    return summary


def _print(console: Console, summary: dict[str, Any], target: Path) -> None:
    value, ope = summary["value"], summary["ope"]
    worth = Table("true value, weeks 40 to 50", "", title_justify="left", box=None)
    worth.columns[1].justify = "right"
    worth.add_row("[bold]policy, exploration included", f"[bold]{value['policy_last_quarter']:.3f}")
    worth.add_row("most frequent category of 12 weeks", f"{value['frequent_category']:.3f}")
    worth.add_row("best constant in hindsight", f"{value['best_constant']:.3f}")
    worth.add_row("uniform random", f"{value['uniform']:.3f}")
    worth.add_row("oracle", f"{value['oracle']:.3f}")
    steps = Table("from decision to use", "", box=None)
    steps.columns[1].justify = "right"
    for stage, number in funnel(summary).items():
        steps.add_row(stage, f"{number:,}")
    console.print(worth)
    console.print()
    console.print(steps)
    console.print(
        f"\nCandidate {ope['candidate']}, judged from the log: {ope['estimate']:.4f} "
        f"({ope['interval'][0]:.4f} to {ope['interval'][1]:.4f}); in truth {ope['truth']:.4f}."
    )
    console.print("An offer counts as used when its category is bought: relevance, not causation.")
    console.print(
        f"\n{summary['seconds']:.0f} s. Summary: {target}/summary.json  Report: {target}/report.html"
    )
    console.print("Ask it yourself: make serve")
