"""The command line of the quarantine: `nextplay quarantine list|show|replay`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from audiences.identity.service import IdentityService
from audiences.quarantine.service import Quarantine
from decision.printing import print_json
from decision.settings import load_settings
from storage.clock import SimulatedClock, SystemClock
from storage.engine import Database
from storage.errors import ConfigurationError

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)

Data = Annotated[Path | None, typer.Option(help="Folder that holds everything the service keeps.")]
Library = Annotated[Path | None, typer.Option(help="Library folder, if not <data>/library.")]
Name = Annotated[str | None, typer.Option("--event", help="Events of this name only.")]


@app.command("list")
def list_(
    data: Data = None,
    library: Library = None,
    event: Name = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show, oldest first.")] = 100,
) -> None:
    """Print the events that do not fit the tracking plan, and what the plan says of them now."""
    with _opened(data, library) as quarantine:
        for one in quarantine.page(names=[event] if event else (), limit=limit):
            now = one.now or "fits now: replay it"
            typer.echo(f"{one.event_id}\t{one.name}\t{one.set_aside_at:%Y-%m-%d %H:%M}\t{now}")
        for name, number in sorted(quarantine.counts().items()):
            typer.echo(f"{name}\t{number} in quarantine")


@app.command()
def show(
    event_id: Annotated[str, typer.Argument(help="The event's message id.")],
    data: Data = None,
    library: Library = None,
) -> None:
    """Print one event with everything that was sent, as JSON."""
    with _opened(data, library) as quarantine:
        shown = quarantine.show(event_id)
    print_json(shown)


@app.command()
def replay(data: Data = None, library: Library = None, event: Name = None) -> None:
    """Take in the events that fit by now, once each, with their own ids and times; the others stay.

    While the service runs on SQLite, ask it instead: POST /v1/quarantine/replay.
    """
    with _opened(data, library) as quarantine:
        done = quarantine.replay(datetime.now(UTC), names=[event] if event else ())
    typer.echo(f"{done.taken} taken in, {done.machine} of a machine, {done.stay} stay")
    for reason, number in done.reasons.items():
        typer.echo(f"{number}\t{reason}")


@contextmanager
def _opened(data: Path | None, library: Path | None) -> Iterator[Quarantine]:
    from decision.files import read_files  # noqa: PLC0415 - imports Feast, seconds
    from decision.incoming import Incoming  # noqa: PLC0415

    settings = load_settings(data=data, library=library)
    file = settings.data / "nextplay.db"
    if not settings.database_url and not file.exists():
        raise ConfigurationError(f"there is no database {file}; name the service's folder with --data")
    with closing(Database(settings.url, create=False)) as database:
        identity = IdentityService(database, settings.identities, phone_region=settings.phone_region)
        clock = SimulatedClock(settings.clock) if settings.clock else SystemClock()
        files = read_files(settings.library_folder)
        yield Incoming(database, clock, settings, files, identity).events.quarantine
