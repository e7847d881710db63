"""The command line of users: `nextplay users show|merge|split|erase`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from audiences.identity.service import IdentityService
from decision.delivering import channels_of
from decision.files import read_files
from decision.settings import load_settings
from playbooks.counters import open_counters
from storage.clock import SystemClock
from storage.engine import Database
from storage.errors import ConfigurationError

Data = Annotated[Path | None, typer.Option(help="Folder that holds everything the service keeps.")]
UserId = Annotated[str, typer.Argument(help="A user id, an anonymous profile, or kind:value of an identity.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the join.")]
# Who joins or takes apart on the command line.
_BY = "command line"

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)


@app.callback()
def _users() -> None:
    """What can be done with users."""


@app.command()
def show(user_id: UserId, data: Data = None) -> None:
    """Print the profiles of a person, what they hold, and by which joins they are one."""
    from audiences.identity import repository  # noqa: PLC0415

    with _identity(data) as (database, identity):
        canonical = identity.lookup.canonical(user_id)
        with database.read() as connection:
            graph = repository.graph_of(connection, [canonical])
            held = repository.held_by(connection, sorted(graph.person(canonical)))
    typer.echo(f"user\t{canonical}")
    for profile in sorted(graph.person(canonical)):
        typer.echo(f"profile\t{profile}\tsince {graph.first_seen[profile].isoformat()}")
    for one in held:
        vouched = "verified" if one.verified else "said"
        typer.echo(f"{one.identity.kind}\t{one.identity.value}\t{vouched}\t{one.profile}")
    for join in graph.joins:
        if join.profile in graph.person(canonical):
            why = f"\t{join.why}" if join.why else ""
            typer.echo(f"join\t{join.id}\t{join.profile} = {join.into}\tby {join.cause.value}{why}")


@app.command()
def merge(user_id: UserId, into: UserId, reason: Reason, data: Data = None) -> None:
    """Make two users one person, who goes by the second id from then on."""
    with _identity(data) as (_, identity):
        users = identity.lookup.profile(user_id), identity.lookup.profile(into)
        join = identity.merge(*users, by=_BY, why=reason, now=SystemClock().now())
    typer.echo(f"{join.profile} and {join.into} are one person, by {join.id}")


@app.command()
def split(user_id: UserId, reason: Reason, data: Data = None) -> None:
    """Take a profile out of its person: take back every join with it."""
    with _identity(data) as (_, identity):
        parted = identity.split(user_id, by=_BY, why=reason, now=SystemClock().now())
    typer.echo(f"{len(parted)} joins taken back" if parted else f"{user_id} was joined with nobody")


@contextmanager
def _identity(data: Path | None) -> Iterator[tuple[Database, IdentityService]]:
    settings = load_settings(data=data)
    if not settings.database_url and not (settings.data / "nextplay.db").exists():
        raise ConfigurationError(
            f"there is no database in {settings.data}; name the service's folder with --data"
        )
    with closing(Database(settings.url, create=False)) as database:
        yield (
            database,
            IdentityService(database, settings.identities, phone_region=settings.phone_region),
        )


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
        clock = SystemClock()
        erasure = Erasure(
            database,
            clock,
            features=features,
            channels=channels_of(settings, files.channels, database, clock),
            counters=counters,
        )
        erased = erasure.erase(user_id)
    for place, number in erased.places.items():
        typer.echo(f"{place}\t{number}")
    typer.echo(f"what is left of their facts tells of {erased.pseudonym}")
