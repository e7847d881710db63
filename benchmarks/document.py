"""docs/performance.md, made from the last run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.benchmark import Benchmark, Result
from benchmarks.errors import BenchmarkError
from benchmarks.pauses import Pauses
from benchmarks.registry import BENCHMARKS
from benchmarks.report import Origin, Report, as_json

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
# The run that the page was made from.
SOURCE = Path(__file__).parent / "results" / "published.json"

_METHOD = """\
## How it is measured

Each benchmark measures its subject beside a floor (the least that the same result could cost) or a peer,
in the same run, taking turns: subject, floor, floor, subject, and so on. The first pair is thrown away.
**Value** and **floor** are medians; **ratio** is the median of the ratios of the pairs, and **spread**
their first and third quartile. What slows the whole machine down slows both sides of a pair, so a ratio
can be compared between machines where a value cannot.

Requests and appends that are measured for latency follow a schedule fixed in advance (open loop). Latency
counts from the scheduled time to the whole answer, also when the request could not be sent in time, and
one that is never answered has waited until the end; so a service that stalls can't hide it (no
coordinated omission). The generator runs in a process of its own and loads only the machine it runs on;
`load_generator` shows what it can send at all.

Benchmarks may be measured in several runs on the same machine and software; **measured** says of each when
that was and of which revision, with the load of the minute before. What is said of the machine's state above
is of the last run.

A measurement whose outcome is wrong (rows missing, answers that differ, requests refused) is void and
gives no result.
"""


def render(report: Report, benchmarks: Mapping[str, Benchmark] = BENCHMARKS) -> str:
    """Return the page of a report. A result of a benchmark that is no more is left out."""
    results = [result for result in report.results if result.name in benchmarks]
    parts = [
        "# Performance\n",
        "Made by `nextplay bench --write-docs` from runs of `nextplay bench`; don't edit it by hand. "
        "[How to run it](how-to/benchmarks.md).\n",
        _machine(report),
        "\n".join(_table(results, report.origins)) + "\n",
        _METHOD,
        "## What each one measures\n",
        *[_described(benchmarks[result.name]) for result in results],
    ]
    return "\n".join(parts)


def write(report: Report, page: Path, source: Path) -> None:
    """Write the page, and beside the benchmarks the run it is made from.

    Raises:
        BenchmarkError: there is no folder for it, as where the package is installed without its sources.
    """
    if not page.parent.is_dir():
        raise BenchmarkError(
            f"there is no folder {page.parent}; write the page from a checkout of the sources"
        )
    source.parent.mkdir(exist_ok=True)
    source.write_bytes(as_json(report) + b"\n")
    page.write_text(render(report), encoding="utf-8")


def number(value: float) -> str:
    """Return a number with four significant digits and no exponent."""
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def _machine(report: Report) -> str:
    machine = report.machine
    postgres = f", Postgres {machine.postgres}" if machine.postgres else ""
    return (
        f"Measured on {machine.cores} cores of {machine.cpu}, {machine.memory_gb:g} GB, {machine.platform}, "
        f"Python {machine.python}, SQLite {machine.sqlite}{postgres}. The disk made 4 KB durable in "
        f"{machine.sync_ms:g} ms; {machine.load:g} processes wanted to run before the run began."
        f"{_pauses(machine.pauses)}\n"
    )


def _pauses(pauses: Pauses | None) -> str:
    if pauses is None:
        return ""
    return (
        f" Just before it a core was taken away for {pauses.share:.1%} of the time, for "
        f"{pauses.longest_ms:g} ms at the longest: no latency below that can be kept here."
    )


def _table(results: list[Result], origins: Mapping[str, Origin]) -> list[str]:
    lines = [
        "| benchmark | value | floor | ratio | spread | promised | holds | measured |",
        "|---|--:|--:|--:|--:|---|---|---|",
    ]
    for result in results:
        low, high = result.spread
        cells = [
            f"`{result.name}`",
            f"{number(result.value)} {result.unit}",
            f"{number(result.floor)} {result.unit}",
            number(result.ratio),
            f"{number(low)} to {number(high)}",
            result.bound,
            "yes" if result.holds else "**no**",
            _measured(origins.get(result.name)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _measured(origin: Origin | None) -> str:
    if origin is None:
        return "before this was told"
    revision = f", {origin.revision}" if origin.revision else ""
    return f"{origin.at:%Y-%m-%d}{revision} (load {origin.load:g}, 4 KB in {origin.sync_ms:g} ms)"


def _described(benchmark: Benchmark) -> str:
    return f"**`{benchmark.name}`** {benchmark.measures}\nAgainst: {benchmark.against}\n"
