"""The command line of recalls: `nextplay recall PLAYBOOK VERSION --since … --until …`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from decision.asking import Key, remote
from decision.printing import print_json
from delivery.errors import RecallRefused


def recall(
    playbook: Annotated[str, typer.Argument(help="The playbook whose message was wrong.")],
    version: Annotated[int, typer.Argument(help="Its version.")],
    since: Annotated[str, typer.Option(help="The first moment, with its zone: 2026-03-02T10:02:00Z.")],
    until: Annotated[str, typer.Option(help="The moment from which on messages were right.")],
    why: Annotated[str, typer.Option(help="Why; it is kept with the change.")],
    url: Annotated[str, typer.Option(help="Address of the service.")] = "http://127.0.0.1:8321",
    key: Key = None,
    coupons: Annotated[str, typer.Option(help="`honour` open coupons, or `void` them.")] = "honour",
    correction: Annotated[
        str | None, typer.Option(help="Playbook that everybody who got a message is sent through.")
    ] = None,
    do: Annotated[bool, typer.Option("--do", help="Do it; else it is only said what would be done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Recall a wrong message: find everyone, cancel what is queued, see the exposure in money."""
    body = {
        "playbook": playbook,
        "version": version,
        "since": _moment(since),
        "until": _moment(until),
        "why": why,
        "coupons": coupons,
        "correction": correction,
        "dry_run": not do,
    }
    with remote(url, None, key) as service:
        found = service.ask("POST", "/v1/recalls", body)
    if as_json:
        print_json(found)
    else:
        _tell(found)


def _moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise RecallRefused(f"{text!r} is no moment; write 2026-03-02T10:02:00Z") from error
    if moment.tzinfo is None:
        raise RecallRefused(f"{text!r} has no zone; append Z, or an offset")
    return moment.astimezone(UTC).isoformat()


def _tell(found: Any) -> None:
    done = not found["dry_run"]
    typer.echo(f"{found['messages']} messages went out, to {found['users']} users")
    typer.echo(f"{found['queued']} queued messages {'cancelled' if done else 'to cancel'}")
    if found["in_hand"]:
        typer.echo(f"{found['in_hand']} messages are being handed over: recall again in a few minutes")
    typer.echo(f"exposure: {', '.join(found['exposure']) or 'none'} in {found['coupons_open']} open coupons")
    typer.echo(f"spent: {', '.join(found['spent']) or 'nothing'} in {found['coupons_used']} used coupons")
    typer.echo(f"{found['decisions']} decisions left out of learning" + ("" if done else " (to be)"))
    if done:
        typer.echo(f"{found['voided']} coupons voided, {found['corrections']} corrections on their way")
    else:
        typer.echo("nothing was done: add --do")
