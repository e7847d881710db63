"""The command line of CRMs: `nextplay crm reconcile|waiting|replay`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec
import typer

from audiences.importing.reader import Row, read_rows
from decision.asking import Data, Key, Remote, Url, at_hand, remote
from decision.errors import CrmDiffers

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)

Source = Annotated[str, typer.Argument(help="The CRM's id in crm.yaml.")]
_WRONG = ("missing_here", "missing_there", "differing", "unreadable")
_LISTS = ("missing_here", "missing_there", "differing", "overruled", "unreadable")


class _Place(Protocol):
    """Where what CRMs told is kept: in a database at hand, or behind a service."""

    def reconcile(self, source: str, rows: Iterator[Row]) -> dict[str, Any]: ...

    def waiting(self, source: str) -> list[dict[str, Any]]: ...

    def replay(self, source: str) -> dict[str, int]: ...


@app.command()
def reconcile(
    source: Source,
    file: Annotated[Path, typer.Argument(help="The CRM's export: .csv, .ndjson, .jsonl (.gz) or .parquet.")],
    data: Data = None,
    url: Url = None,
    key: Key = None,
    json: Annotated[bool, typer.Option(help="Print the whole report as JSON.")] = False,
) -> None:
    """Compare a CRM's export with what is held of it; exit code 1 if they do not agree."""
    with _place(data, url, key) as place:
        report = place.reconcile(source, read_rows(file))
    if json:
        typer.echo(msgspec.json.encode(report))
    else:
        _show(report)
    if not report["agrees"]:
        counts = ", ".join(f"{report['counts'][name]} {name.replace('_', ' ')}" for name in _WRONG)
        raise CrmDiffers(f"{source} and what is held of it do not agree: {counts}")


@app.command()
def waiting(source: Source, data: Data = None, url: Url = None, key: Key = None) -> None:
    """Print the webhooks that could not be read, and why."""
    with _place(data, url, key) as place:
        for one in place.waiting(source):
            typer.echo(f"{one['webhook_id']}\t{one['received_at']}\t{one['reason']}")


@app.command()
def replay(source: Source, data: Data = None, url: Url = None, key: Key = None) -> None:
    """Read again what could not be read, by crm.yaml as it is now."""
    with _place(data, url, key) as place:
        done = place.replay(source)
    typer.echo(f"{done['taken']} taken, {done['waiting']} still wait")


class _Served:
    """What a running service holds."""

    def __init__(self, service: Remote) -> None:
        self._service = service

    def reconcile(self, source: str, rows: Iterator[Row]) -> dict[str, Any]:
        lines = (
            msgspec.json.encode({"line": row.line, "values": row.values, "error": row.error}) + b"\n"
            for row in rows
        )
        report: dict[str, Any] = self._service.ask("POST", f"/v1/crm/{source}/reconcile", content=lines)
        return report

    def waiting(self, source: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            page = self._service.ask("GET", f"/v1/crm/{source}/waiting?after={after}")
            found += page["waiting"]
            if page["next"] is None:
                return found
            after = page["next"]

    def replay(self, source: str) -> dict[str, int]:
        done: dict[str, int] = self._service.ask("POST", f"/v1/crm/{source}/replay")
        return done


@contextmanager
def _place(data: Path | None, url: str | None, key: str | None) -> Iterator[_Place]:
    if url is not None:
        with remote(url, data, key) as service:
            yield _Served(service)
        return
    from audiences.identity.service import IdentityService  # noqa: PLC0415 - imports Feast, seconds
    from decision.files import read_files  # noqa: PLC0415
    from decision.incoming import Incoming  # noqa: PLC0415

    with at_hand(data) as (settings, database, clock):
        files = read_files(settings.library_folder)
        identity = IdentityService(database, settings.identities, phone_region=settings.phone_region)
        yield _AtHand(Incoming(database, clock, settings, files, identity))


class _AtHand:
    """What the database at hand holds."""

    def __init__(self, incoming: Any) -> None:
        self._incoming = incoming

    def reconcile(self, source: str, rows: Iterator[Row]) -> dict[str, Any]:
        plain = (msgspec.structs.replace(row, values=msgspec.to_builtins(row.values)) for row in rows)
        return _plain(self._incoming.reconcile(source, plain))

    def waiting(self, source: str) -> list[dict[str, Any]]:
        crm = self._incoming.crm
        found: list[dict[str, Any]] = []
        while page := crm.waiting(crm.source(source), after=found[-1]["webhook_id"] if found else ""):
            found += [_plain(one) for one in page]
        return found

    def replay(self, source: str) -> dict[str, int]:
        crm = self._incoming.crm
        return _plain(crm.replay(crm.source(source)))


def _plain(value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(value)
    if hasattr(value, "agrees"):
        plain["agrees"] = value.agrees
    return plain


def _show(report: dict[str, Any]) -> None:
    typer.echo("\t".join(f"{name} {number}" for name, number in report["counts"].items()))
    for name in _LISTS:
        for one in report[name]:
            typer.echo(f"{name}\t" + "\t".join(f"{field}={value}" for field, value in one.items()))
