"""`nextplay playbooks runs|move-runs|end-runs`: those inside a version, in a running service."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from decision.asking import Key, remote
from decision.librarian.moving import AsJson, Playbook
from decision.printing import print_json
from storage.errors import ConfigurationError

Url = Annotated[str, typer.Option(help="Address of a running service, http://127.0.0.1:8321.")]
Why = Annotated[str, typer.Option(help="Why, for those who read it later.")]


def runs(playbook: Playbook, url: Url, key: Key = None, as_json: AsJson = False) -> None:
    """Show how many runs are under way in each state of each version."""
    with remote(url, None, key) as service:
        found = service.ask("GET", f"{_path(playbook)}/runs")
    if as_json:
        print_json(found)
        return
    for one in found["versions"]:
        states = ", ".join(f"{number} in {state}" for state, number in one["states"].items())
        typer.echo(f"{playbook}@{one['version']}\t{states}")
    if not found["versions"]:
        typer.echo("nobody is inside")


def move_runs(
    playbook: Playbook,
    from_: Annotated[int, typer.Option("--from", min=1, help="The version they are in.")],
    to: Annotated[int, typer.Option(min=1, help="The version they go to.")],
    url: Url,
    state: Annotated[
        list[str] | None, typer.Option(help="old=new where a state has another name; repeat it.")
    ] = None,
    why: Why = "",
    key: Key = None,
) -> None:
    """Move the runs of a version into another one; if one had no place there, nobody is moved."""
    body = {"from": from_, "to": to, "states": dict(map(_mapped, state or [])), "why": why}
    with remote(url, None, key) as service:
        moved = service.ask("POST", f"{_path(playbook)}/runs/move", body)["moved"]
    typer.echo(f"{moved} runs moved from {playbook}@{from_} to {playbook}@{to}")


def end_runs(
    playbook: Playbook,
    version: Annotated[int, typer.Option(min=1, help="The version they are in.")],
    url: Url,
    why: Why = "",
    key: Key = None,
) -> None:
    """End the runs of a version wherever they are."""
    with remote(url, None, key) as service:
        ended = service.ask("POST", f"{_path(playbook)}/runs/end", {"version": version, "why": why})["ended"]
    typer.echo(f"{ended} runs of {playbook}@{version} ended")


def _mapped(text: str) -> tuple[str, str]:
    old, sign, new = text.partition("=")
    if not (old and sign and new):
        raise ConfigurationError(f"--state {text!r} must be the old state and the new one, old=new")
    return old, new


def _path(playbook: str) -> str:
    return f"/v1/playbooks/{quote(playbook, safe='')}"
