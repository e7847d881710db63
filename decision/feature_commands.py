"""`nextplay features`: looks at what features are computed from."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from decision.errors import FeaturesDiffer
from decision.files import read_specs
from decision.settings import load_settings
from storage.errors import ConfigurationError

app = typer.Typer(no_args_is_help=True, help="Look at what features are computed from.")

Data = Annotated[Path | None, typer.Option(help="Folder that holds everything the service keeps.")]
Library = Annotated[Path | None, typer.Option(help="Library folder, if not <data>/library.")]
_SHOWN = 20


@app.command()
def verify(
    data: Data = None,
    library: Library = None,
    users: Annotated[int, typer.Option(min=1, help="How many users to compare.")] = 1_000,
) -> None:
    """Compare features kept event by event with those computed from the history; say what differs.

    May run beside the service and changes nothing. Users with events that are not in the history yet are
    passed over: the job `features` puts them there.
    """
    # Here, because DuckDB and Arrow take a second that other commands can do without.
    from feature_repo.history import History  # noqa: PLC0415
    from feature_repo.incremental.plan import make_plan  # noqa: PLC0415
    from feature_repo.incremental.store import StateStore  # noqa: PLC0415
    from feature_repo.snapshots import Snapshots  # noqa: PLC0415
    from feature_repo.verification import verify as compare  # noqa: PLC0415

    settings = load_settings(data=data, library=library)
    specs = read_specs(settings.library_folder)
    folder = settings.data / "features"
    if not (folder / "state.db").exists():
        raise ConfigurationError(
            f"there are no states of features in {folder}; the job `push` makes them: run `nextplay serve`, "
            "or name another --data"
        )
    states = StateStore(folder / "state.db", make_plan(specs))
    try:
        if states.position() is None:
            raise ConfigurationError(
                "the states of features are those of other features, events or vocabularies; the job `push` "
                "computes them again: start the service with this library, or name another --library"
            )
        history = History(folder / "history", specs.events)
        snapshots = Snapshots(folder / "snapshots", specs, history)
        found = compare(states, snapshots, settings.clock or datetime.now(UTC), users)
        kept, size = states.size()
    finally:
        states.close()
    typer.echo(
        f"{found.compared} users compared, {found.newer} passed over with events newer than the history; "
        f"{kept} states of {size / max(kept, 1):.0f} bytes each"
    )
    for line in found.differences[:_SHOWN]:
        typer.echo(f"  {line}")
    if found.differences:
        raise FeaturesDiffer(
            f"{len(found.differences)} values differ; stop the service, delete {folder / 'state.db'} and "
            "start it again: the states are then computed from the history"
        )
    typer.echo("no differences")
