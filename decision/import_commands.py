"""The command line of imports: `nextplay import events|consents|suppressions|coupons|contacts FILE`.

What was before nextplay is known to users, features, caps and the wallet, and nothing is started by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, TextIO

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from audiences.importing.reader import Row, columns_of, read_rows, size_of
from audiences.importing.service import Imported
from audiences.tracking.rows import Columns
from decision.asking import Data, Key, Remote, Url, at_hand, remote
from decision.errors import RowsRefused, ServiceRefused
from storage.errors import ConfigurationError

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)

File = Annotated[Path, typer.Argument(help="A file of rows: .csv, .ndjson, .jsonl (also .gz) or .parquet.")]
Rejects = Annotated[
    Path | None, typer.Option(help="Where refused rows are written; FILE.rejects.ndjson unless said.")
]
Moment = Annotated[
    str | None, typer.Option(help="When it was, for rows without an `at`: 2026-03-02T09:00:00Z.")
]

# A request stays well below the 1 MiB that a body may have.
_ROWS_AT_A_TIME = 200
_BYTES_AT_A_TIME = 512 * 1024
# How often a service that has too much to do is asked again, a second apart.
_ATTEMPTS = 60
_KNOWN_LATER = (
    "features know them after the next run of the job `features`, audiences after the next one of "
    "`audiences`: each quarter of an hour, or at once by `POST /v1/jobs/features`, then "
    "`POST /v1/jobs/audiences`"
)

Take = Callable[[Sequence[Row]], Imported]


@app.command()
def events(
    files: Annotated[
        list[Path], typer.Argument(help="Files of events: .csv, .ndjson, .jsonl (also .gz) or .parquet.")
    ],
    historical: Annotated[
        bool, typer.Option("--historical", help="They are past: features know them, nothing is started.")
    ] = False,
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", help="COLUMN=FIELD or COLUMN=properties.NAME:number; may be given often."),
    ] = None,
    zone: Annotated[str | None, typer.Option(help="Zone of times that name none, Europe/Berlin.")] = None,
    data: Data = None,
    url: Url = None,
    key: Key = None,
    rejects: Rejects = None,
) -> None:
    """Import events, as messages of the tracking spec or as rows of columns."""
    if rejects is not None and len(files) > 1:
        raise ConfigurationError("--rejects names one file; import one file at a time, or leave it out")
    # All are looked at before any is read.
    read = {file: _columns(file, columns or [], zone) for file in files}
    refused = 0
    for file, made in read.items():
        kind = "past_events" if historical else "events"
        try:
            run(kind, file, data, url, key, rejects, prepare=made.message)
        except RowsRefused as error:
            typer.echo(f"{file}: {error}", err=True)
            refused += 1
    if historical:
        typer.echo(_KNOWN_LATER)
    if refused:
        raise RowsRefused(f"rows of {refused} of {len(files)} files were refused")


def _columns(file: Path, maps: Sequence[str], zone: str | None) -> Columns:
    names = columns_of(file)
    made = Columns(maps, zone, flat=names is not None)
    if names is not None:
        made.check(file.name, names)
    return made


@app.command()
def consents(
    file: File,
    data: Data = None,
    url: Url = None,
    key: Key = None,
    rejects: Rejects = None,
    at: Moment = None,
) -> None:
    """Import what users agreed to and refused: user_id, purpose, channel, state, at."""
    run("consents", file, data, url, key, rejects, at)


@app.command()
def suppressions(
    file: File,
    data: Data = None,
    url: Url = None,
    key: Key = None,
    rejects: Rejects = None,
    at: Moment = None,
) -> None:
    """Import addresses that may not be written to: address, reason, at."""
    run("suppressions", file, data, url, key, rejects, at)


@app.command()
def coupons(file: File, data: Data = None, url: Url = None, key: Key = None, rejects: Rejects = None) -> None:
    """Import live coupons with their codes: code, user_id, offer, issued_at, expires_at."""
    run("coupons", file, data, url, key, rejects)


@app.command()
def contacts(
    file: File,
    data: Data = None,
    url: Url = None,
    key: Key = None,
    rejects: Rejects = None,
    at: Moment = None,
) -> None:
    """Import how often users were contacted, for caps to know: user_id, playbook, cap, at, count."""
    run("contacts", file, data, url, key, rejects, at)


def run(
    kind: str,
    file: Path,
    data: Path | None,
    url: str | None,
    key: str | None,
    rejects: Path | None,
    at: str | None = None,
    prepare: Callable[[Row], Row] | None = None,
) -> None:
    """Import a file of rows of a kind, showing how far it is; what is refused goes into a file of its own.

    Args:
        at: when it was, for rows that do not say.
        prepare: what is done with each row before it is taken.

    Raises:
        RowsRefused: some were; the others are recorded.
    """
    size = size_of(file)
    rejected = rejects or file.with_name(f"{file.name}.rejects.ndjson")
    total = Imported()
    with _place(kind, data, url, key) as take, _Rejects(rejected) as refusing, _progress() as bar:
        task = bar.add_task(kind, total=size)
        rows = read_rows(file) if prepare is None else map(prepare, read_rows(file))
        for batch in _batches(rows, {} if at is None else {"at": at}):
            done = take(batch)
            refusing.write(batch, done)
            total += msgspec.structs.replace(done, refused=[])
            bar.update(task, completed=batch[-1].position)
    typer.echo(f"{total.recorded} recorded, {total.duplicates} were there already, {refusing.number} refused")
    if refusing.number:
        raise RowsRefused(f"{refusing.number} rows were refused; {rejected} says why, by the line of each")


class _Rejects:
    """The file of refused rows, made when there is a first one; one of an earlier run is replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self.number = 0

    def __enter__(self) -> _Rejects:
        self._path.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, batch: Sequence[Row], done: Imported) -> None:
        """Write the refused rows of a batch, each with its line, why, and what it said."""
        values = {row.line: row.values for row in batch}
        for one in done.refused:
            if self._file is None:
                self._file = self._path.open("w", encoding="utf-8")
            row = {"line": one.line, "error": one.error, "values": values.get(one.line, {})}
            self._file.write(msgspec.json.encode(row).decode() + "\n")
            self.number += 1


@contextmanager
def _place(kind: str, data: Path | None, url: str | None, key: str | None) -> Iterator[Take]:
    if url is not None:
        with remote(url, data, key) as service:
            yield lambda rows: _sent(service, kind, rows)
        return
    from audiences.identity.service import IdentityService  # noqa: PLC0415 - with the next, a second to import
    from decision.files import read_files  # noqa: PLC0415
    from decision.importing import open_imports  # noqa: PLC0415
    from decision.incoming import Incoming  # noqa: PLC0415
    from playbooks.counters import open_counters  # noqa: PLC0415

    with at_hand(data) as (settings, database, clock):
        files = read_files(settings.library_folder)
        identity = IdentityService(database, settings.identities, phone_region=settings.phone_region)
        # The same way in as that of a service.
        incoming = Incoming(database, clock, settings, files, identity)
        with closing(open_counters(database, settings.counters_url)) as counters:
            imports = open_imports(database, clock, incoming.intake, incoming.consents, counters, files.draft)
            yield lambda rows: imports.take(kind, rows)


def _sent(service: Remote, kind: str, rows: Sequence[Row]) -> Imported:
    good = [{"line": row.line, "values": row.values} for row in rows if not row.error]
    body = msgspec.json.encode({"rows": good})
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            answer = service.ask("POST", f"/v1/import/{kind}", content=body)
        except ServiceRefused as error:
            if not error.busy or attempt == _ATTEMPTS:
                raise
            time.sleep(1)
        else:
            break
    unread = [{"line": row.line, "error": row.error} for row in rows if row.error]
    return msgspec.convert({**answer, "refused": [*unread, *answer["refused"]]}, Imported)


def _batches(rows: Iterator[Row], defaults: dict[str, Any]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    for row in rows:
        # As they would be in JSON, so that a service and the database at hand see the same.
        values = {**defaults, **msgspec.to_builtins(row.values)}
        length = len(msgspec.json.encode(values))
        if batch and (len(batch) == _ROWS_AT_A_TIME or size + length > _BYTES_AT_A_TIME):
            yield batch
            batch, size = [], 0
        batch.append(msgspec.structs.replace(row, values={} if row.error else values))
        size += length
    if batch:
        yield batch


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
