"""The command line of the ledger: `nextplay ledger counts|recount|retain|export`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from decision.settings import load_settings
from storage import ledger, projection, retention
from storage.engine import Database
from storage.errors import ConfigurationError, StorageError
from storage.ledger import Kind

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)

Data = Annotated[Path | None, typer.Option(help="Folder that holds everything the service keeps.")]
Day = typer.Option(formats=["%Y-%m-%d"])


class CountersWrong(StorageError):
    """The kept counters are not what the facts say."""

    code = "counters-wrong"


@app.command()
def counts(data: Data = None) -> None:
    """Print how many facts of each kind and label were ever recorded."""
    with _opened(data) as database, database.read() as connection:
        counted = ledger.counts(connection)
    for kind, labels in sorted(counted.items()):
        for label, number in sorted(labels.items()):
            typer.echo(f"{kind}\t{label}\t{number}")


@app.command()
def recount(data: Data = None) -> None:
    """Count all facts again and print where the kept counters differ; exit code 1 if they do anywhere."""
    with _opened(data) as database:
        projection.catch_up(database)
        with database.read() as connection:
            differences = projection.recount(connection)
    for one in differences:
        typer.echo(f"{one.kind}\t{one.label}\t{one.day}\tkept {one.kept}\trecounted {one.recounted}")
    if differences:
        raise CountersWrong(
            f"{len(differences)} counters are not what the facts say: something other than nextplay added "
            "facts or took them away; restore a backup from before that"
        )
    typer.echo("the counters equal the facts")


@app.command()
def retain(
    data: Data = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="KIND=DAYS, instead of NEXTPLAY_RETENTION; may be given for several kinds."),
    ] = None,
) -> None:
    """Take away the facts that are older than their kind is kept."""
    from learning.still_needed import StillNeeded  # noqa: PLC0415 - playbooks, needed here only

    rules = retention.retention_of(_rules(keep) if keep else load_settings(data=data).retention)
    if not any(rules.values()):
        raise ConfigurationError(
            "every kind is kept for ever; name days with --keep event=400, or in NEXTPLAY_RETENTION"
        )
    with _opened(data) as database:
        now = datetime.now(UTC)
        for one in retention.purge(database, rules, now, StillNeeded(database).since(now)):
            held = f"\t{one.held} wait for {one.held_by}" if one.held else ""
            typer.echo(f"{one.kind}\t{one.purged} taken away{held}")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Where the datasets are written, a folder a kind.")],
    data: Data = None,
    kind: Annotated[list[Kind] | None, typer.Option(help="Kinds to export; all if none is named.")] = None,
    since: Annotated[datetime | None, Day] = None,
    until: Annotated[datetime | None, Day] = None,
) -> None:
    """Write facts to Parquet, a file a kind and UTC day, from --since up to but not including --until."""
    from storage.export import export as export_facts  # noqa: PLC0415 - PyArrow, needed here only

    with _opened(data) as database:
        exported = export_facts(
            database, folder, kind or list(Kind), since and since.date(), until and until.date()
        )
    written = [one for one in exported if one.written]
    typer.echo(
        f"{sum(one.facts for one in written)} facts written in {len(written)} files; "
        f"{len(exported) - len(written)} were there already"
    )


@contextmanager
def _opened(data: Path | None) -> Iterator[Database]:
    settings = load_settings(data=data)
    file = settings.data / "nextplay.db"
    if not settings.database_url and not file.exists():
        raise ConfigurationError(f"there is no database {file}; name the service's folder with --data")
    with closing(Database(settings.url, create=False)) as database:
        yield database


def _rules(keep: list[str]) -> dict[str, int | None]:
    rules: dict[str, int | None] = {}
    for rule in keep:
        kind, _, days = rule.partition("=")
        if not days.isdecimal():
            raise ConfigurationError(f"--keep {rule!r} is not KIND=DAYS; write for example --keep event=400")
        rules[kind] = int(days)
    return rules
