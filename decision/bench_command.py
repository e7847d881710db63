"""`nextplay bench`: measures the project beside its floors and says whether what it promises holds."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from benchmarks.benchmark import Benchmark
    from benchmarks.report import Report

_PAGE_WIDTH = 120


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(help="Benchmarks to run; all when none is named.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    list_them: Annotated[bool, typer.Option("--list", help="Say what there is, and run nothing.")] = False,
    write_docs: Annotated[
        bool,
        typer.Option("--write-docs", help="Write docs/performance.md from the last run, and run nothing."),
    ] = False,
    trials: Annotated[
        int | None,
        typer.Option(
            min=10, help="Trials, rows or events of benchmarks that are made of them; fewer promise less."
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=1, max=10_000, help="Events a second of `trigger_to_channel`.")
    ] = None,
    folder: Annotated[
        Path, typer.Option(help="Where to measure: on the disk that would hold the data.")
    ] = Path("var/bench"),
) -> None:
    """Measure the project beside its floors, in turn."""
    from benchmarks import document, report  # noqa: PLC0415 - NumPy and all rooms, needed here only
    from benchmarks.registry import chosen  # noqa: PLC0415

    benchmarks = chosen(names or [])
    if list_them:
        for benchmark in benchmarks:
            typer.echo(f"{benchmark.name}\n    {benchmark.measures}\n    Promised: {benchmark.bound}")
        return
    if rate is not None:
        benchmarks = [one if one.at_rate is None else one.at_rate(rate) for one in benchmarks]
    if trials is not None:
        benchmarks = [one if one.sized is None else replace(one, run=one.sized(trials)) for one in benchmarks]
    last = folder / report.LAST_RUN
    if write_docs:
        # Without a run of one's own the page is made anew from the run it was made from before.
        document.write(
            report.kept(last if last.exists() else document.SOURCE), document.PAGE, document.SOURCE
        )
        return
    measured, failures = report.run(benchmarks, folder, _say)
    report.keep(measured, last)
    if as_json:
        typer.echo(report.as_json(measured).decode())
    else:
        _print(measured, {benchmark.name: benchmark for benchmark in benchmarks})
    for name, reason in failures.items():
        _say(f"{name} gave no result: {reason}")
    if failures:
        raise typer.Exit(1)


def _say(text: str) -> None:
    """Tell of progress where it does not mix with the report."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is the command line's voice


def _print(measured: Report, benchmarks: Mapping[str, Benchmark]) -> None:
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415

    from benchmarks.document import number  # noqa: PLC0415

    machine = measured.machine
    table = Table("benchmark", "value", "floor", "ratio", "spread", "promised", "holds", box=None)
    for column in table.columns[1:5]:
        column.justify = "right"
    for result in measured.results:
        low, high = result.spread
        table.add_row(
            result.name,
            f"{number(result.value)} {result.unit}",
            f"{number(result.floor)} {result.unit}",
            number(result.ratio),
            f"{number(low)} to {number(high)}",
            result.bound,
            "[green]yes" if result.holds else "[red]no",
        )
    # Where there is no terminal to fit into, a table as wide as it needs is better than a cut one.
    console = Console() if sys.stdout.isatty() else Console(width=_PAGE_WIDTH)
    taken = (
        "" if machine.pauses is None else f", a core taken away for up to {machine.pauses.longest_ms:g} ms"
    )
    console.print(
        f"\n{machine.cores} cores of {machine.cpu}, Python {machine.python}, SQLite {machine.sqlite}, "
        f"load {machine.load:g}, 4 KB durable in {machine.sync_ms:g} ms{taken}\n",
        highlight=False,
    )
    console.print(table)
    for result in measured.results:
        console.print(
            f"\n[bold]{result.name}[/]: against: {benchmarks[result.name].against}", highlight=False
        )
