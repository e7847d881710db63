"""The command line of audiences: `nextplay audiences test`. It asks a running service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from audiences.errors import FileUnreadable
from decision.asking import unanswered
from decision.errors import ServiceRefused
from decision.printing import print_json
from storage.errors import ConfigurationError

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)

_SECONDS = 300
_SHOWN = 20


@app.callback()
def audiences() -> None:
    """Judge audiences by labelled users."""


@app.command("test")
def judge(
    audience: Annotated[str, typer.Argument(help="Id of the audience.")],
    labels: Annotated[Path, typer.Argument(help="A CSV of user_id,expected.")],
    url: Annotated[str, typer.Option(help="Address of a running service.")] = "http://127.0.0.1:8321",
    key: Annotated[
        str | None, typer.Option(envvar="NEXTPLAY_KEY", help="A key with the scope operate.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
) -> None:
    """Compare an audience with labelled users: figures, and who is wrongly placed because of what."""
    if key is None:
        raise ConfigurationError("a key with the scope operate is needed: give it in NEXTPLAY_KEY or --key")
    try:
        body = labels.read_bytes()
    except OSError as error:
        raise FileUnreadable(f"{labels} can't be read: {error.strerror}") from error
    report = _asked(url, key, audience, body)
    if as_json:
        print_json(report)
        return
    _tell(report)


def _asked(url: str, key: str, audience: str, body: bytes) -> dict[str, Any]:
    import httpx2  # noqa: PLC0415 - an HTTP client, needed here only

    headers = {"Authorization": f"Bearer {key}", "Content-Type": "text/csv"}
    try:
        with httpx2.Client(base_url=url, headers=headers, timeout=_SECONDS) as http:
            answer = http.post(f"/v1/audiences/{audience}/test", content=body)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise ServiceRefused(unanswered(url, error)) from error
    try:
        report: dict[str, Any] = answer.json()
    except ValueError:
        report = {}
    if not answer.is_success:
        said = report.get("detail", f"HTTP {answer.status_code}; is {url} a nextplay service?")
        raise ServiceRefused(f"the service refused: {said}")
    return report


def _tell(report: dict[str, Any]) -> None:
    unknown = report["unknown"]["count"]
    typer.echo(f"{report['audience']}: {report['labelled']} labelled users, {unknown} unknown")
    for name in ("accuracy", "precision", "recall", "f1"):
        value = report[name]
        typer.echo(f"  {name:<10} {'-' if value is None else format(value, '.3f')}")
    for one in report["wrong"][:_SHOWN]:
        placed = "is in" if one["found"] else "is not in"
        typer.echo(f"  {one['user_id']} {placed}: {one['because']}")
    if len(report["wrong"]) > _SHOWN:
        typer.echo(f"  … and {len(report['wrong']) - _SHOWN} more; --json has them all")
    for one in report["drift"]["features"]:
        if one["drift"] != "none":
            typer.echo(f"  drift of {one['feature']}: {one['drift']} (PSI {one['psi']})")
    if not report["drift"]["applies"]:
        typer.echo("  The labelled users are not like the population: these figures are about others.")
