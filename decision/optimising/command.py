"""`nextplay changes`: the optimisation log of a running service."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from decision.asking import Key, remote
from decision.printing import print_json

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)

Url = Annotated[str, typer.Option(help="Address of the running service.")]
_HERE = "http://127.0.0.1:8321"


@app.command("list")
def list_(
    what: Annotated[
        list[str] | None, typer.Option(help="Kind of thing: playbook, policy_published, audience, control …")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 20,
    url: Url = _HERE,
    key: Key = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what changed, newest first: from what to what, who, why, and what takes it back."""
    asked = "".join(f"&what={quote(one, safe='')}" for one in what or [])
    with remote(url, None, key) as service:
        answer: Any = service.ask("GET", f"/v1/changes?limit={limit}{asked}")
    if as_json:
        print_json(answer)
        return
    for one in answer["changes"]:
        before = "" if one["before"] is None else f"{one['before']} → "
        undo = f" (undo: {one['undo']})" if one["undo"] else ""
        cause = f": {one['cause']}" if one["cause"] else ""
        typer.echo(f"{one['at'][:19]} {one['id']} {one['what']} {one['thing']}: {before}{one['after']}{undo}")
        typer.echo(f"    by {one['by'] or 'the service'}, a {one['actor']}{cause}")


@app.command()
def undo(
    change: Annotated[str, typer.Argument(help="Id of the change.")],
    why: Annotated[str, typer.Option(help="Why it is taken back.")] = "",
    url: Url = _HERE,
    key: Key = None,
) -> None:
    """Take a change back; that is a change of its own."""
    with remote(url, None, key) as service:
        answer: Any = service.ask("POST", f"/v1/changes/{quote(change, safe='')}/undo", {"why": why})
    typer.echo(f"{answer['what']} {answer['thing']}: {answer['after']}, change {answer['id']}")
