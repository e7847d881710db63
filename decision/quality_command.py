"""`nextplay quality`: what came in, and how much of it anything uses."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from audiences.quality.repository import FIGURES
from audiences.quality.service import report_of
from decision.observe.looking import looking
from decision.settings import load_settings
from storage.errors import ConfigurationError
from storage.migrate import check_schema


def quality(
    data: Annotated[Path | None, typer.Option(help="Folder that holds everything the service keeps.")] = None,
    library: Annotated[Path | None, typer.Option(help="Library folder, if not <data>/library.")] = None,
    hours: Annotated[int, typer.Option(min=1, help="Of the last so many hours.")] = 24,
) -> None:
    """Print what came in by source and event, and which properties nothing uses. Changes nothing."""
    from decision.files import read_files  # noqa: PLC0415 - imports Feast, seconds
    from decision.used_properties import used_properties  # noqa: PLC0415

    settings = load_settings(data=data, library=library)
    file = settings.data / "nextplay.db"
    if not settings.database_url and not file.exists():
        raise ConfigurationError(f"there is no database {file}; name the service's folder with --data")
    used = used_properties(read_files(settings.library_folder))
    now = settings.clock or datetime.now(UTC)
    with looking(settings.url) as connection:
        check_schema(connection)
        report = report_of(connection, used, now, hours=hours)
    console = Console()
    console.print(_arrivals(report))
    console.print(_utilisation(report["utilisation"]))


def _arrivals(report: dict[str, Any]) -> Table:
    total = report["total"]
    # A column of zeros tells nothing, and all of them would not fit a terminal.
    figures = [name for name in FIGURES if name == FIGURES[0] or total[name]]
    table = Table(title=f"Events of the last {report['hours']} hours")
    for column in ("source", "event", *figures):
        table.add_column(column, justify="left" if column in ("source", "event") else "right")
    for row in report["sources"]:
        table.add_row(row["source"], row["name"], *(str(row[name]) for name in figures))
    table.add_row("all", "", *(str(total[name]) for name in figures), style="bold")
    return table


def _utilisation(told: dict[str, Any]) -> Table:
    rate = "nothing received" if told["rate"] is None else f"{told['rate']:.0%} of the properties are used"
    table = Table(title=f"Properties: {rate}")
    for column in ("event", "used", "unused", "used, never received"):
        table.add_column(column)
    for event in told["events"]:
        lists = (", ".join(event[name]) for name in ("used", "unused", "never_received"))
        table.add_row(event["event"], *lists)
    return table
