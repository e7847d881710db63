"""The command line of users: `nextplay users erase`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from decision.files import read_files
from decision.settings import load_settings
from delivery.channels.registry import ChannelSettings, open_channels
from playbooks.counters import open_counters
from storage.clock import SystemClock
from storage.engine import Database
from storage.errors import ConfigurationError

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)


@app.callback()
def _users() -> None:
    """What can be done with users."""


@app.command()
def erase(
    user_id: Annotated[list[str], typer.Argument(help="The ids under which one person is known.")],
    data: Annotated[Path | None, typer.Option(help="Folder that holds everything the service keeps.")] = None,
    library: Annotated[Path | None, typer.Option(help="Library folder, if not <data>/library.")] = None,
) -> None:
    """Erase one person from everything that is kept; facts become tombstones that keep evaluations right.

    On SQLite the service must not run meanwhile: it erases with DELETE /v1/users/USER_ID.
    """
    from decision.erasure import Erasure  # noqa: PLC0415 - Feast, seconds
    from feature_repo.store import FeatureRepository  # noqa: PLC0415

    settings = load_settings(data=data, library=library)
    if not settings.database_url and not (settings.data / "nextplay.db").exists():
        raise ConfigurationError(
            f"there is no database in {settings.data}; name the service's folder with --data"
        )
    files = read_files(settings.library_folder)
    with ExitStack() as opened:
        database = Database(settings.url, create=False)
        opened.callback(database.close)
        counters = open_counters(database, settings.counters_url)
        opened.callback(counters.close)
        features = FeatureRepository(settings.data / "features", files.specs, online_url=settings.online_url)
        opened.callback(features.close)
        features.apply()
        erasure = Erasure(
            database,
            SystemClock(),
            features=features,
            channels=open_channels(ChannelSettings(settings.data)),
            counters=counters,
        )
        erased = erasure.erase(user_id)
    for place, number in erased.places.items():
        typer.echo(f"{place}\t{number}")
    typer.echo(f"what is left of their facts tells of {erased.pseudonym}")
