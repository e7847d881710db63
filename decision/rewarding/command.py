"""`nextplay rewards`: what arms earned, what could not be counted, and judging again."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from decision.asking import Key, remote
from decision.printing import print_json
from playbooks.money import shown

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)

Url = Annotated[str, typer.Option(help="Address of the running service.")]
Playbook = Annotated[str, typer.Argument(help="Id of the playbook.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_HERE = "http://127.0.0.1:8321"


@app.command()
def show(playbook: Playbook, url: Url = _HERE, key: Key = None, as_json: AsJson = False) -> None:
    """Print what each arm of a playbook earned, less what it cost, with an interval of the mean."""
    with remote(url, None, key) as service:
        answer: Any = service.ask("GET", f"/v1/playbooks/{quote(playbook, safe='')}/earnings")
    if as_json:
        print_json(answer)
        return
    table = Table(title=f"{playbook}: {answer['decisions']} decisions, in units of reward")
    for column in ("arm", "decisions", "share", "rewarded", "value", "cost", "net", "net of one"):
        table.add_column(column, justify="left" if column == "arm" else "right")
    for one in answer["arms"]:
        table.add_row(
            one["arm"].partition("/")[2],
            str(one["decisions"]),
            f"{one['share']:.0%}",
            str(one["rewarded"]),
            *(f"{one[name]:.2f}" for name in ("value", "cost", "net")),
            _mean(one),
        )
    Console().print(table)


@app.command()
def refused(
    limit: Annotated[int, typer.Option(min=1, max=500)] = 20,
    url: Url = _HERE,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Print outcomes that could not be counted, newest first, and why."""
    with remote(url, None, key) as service:
        answer: Any = service.ask("GET", f"/v1/rewards/refused?limit={limit}")
    if as_json:
        print_json(answer)
        return
    for one in answer["refused"]:
        typer.echo(
            f"{one['occurred_at'][:19]} {one['name']} {one['outcome']} of {one['user_id']}: {one['why']}"
        )
    if not answer["refused"]:
        typer.echo("every outcome could be counted")


@app.command()
def exploration(playbook: Playbook, url: Url = _HERE, key: Key = None, as_json: AsJson = False) -> None:
    """Print what exploring cost a playbook today, of how much it may."""
    with remote(url, None, key) as service:
        answer: Any = service.ask("GET", f"/v1/playbooks/{quote(playbook, safe='')}/exploration")
    if as_json:
        print_json(answer)
        return
    limit, spent = (shown(round(answer[name]), answer["currency"]) for name in ("limit", "spent"))
    only = "; only the floor remains" if answer["only_floor"] else ""
    typer.echo(f"{playbook} on {answer['day']}: {spent} of {limit}{only}")


@app.command()
def recompute(
    playbook: Playbook,
    version: Annotated[
        int | None, typer.Option(min=1, help="Whose goal judges; the newest that is served without it.")
    ] = None,
    url: Url = _HERE,
    key: Key = None,
) -> None:
    """Have all decisions of a playbook judged again, by the goal of one of its versions."""
    body = {} if version is None else {"version": version}
    with remote(url, None, key) as service:
        answer: Any = service.ask("POST", f"/v1/playbooks/{quote(playbook, safe='')}/rewards/recompute", body)
    typer.echo(
        f"{answer['decisions']} decisions of {playbook} are judged by the goal of version "
        f"{answer['version']}, each as soon as its window has closed"
    )


def _mean(one: dict[str, Any]) -> str:
    if one["mean"] is None:
        return ""
    if one["interval"] is None:
        return f"{one['mean']:.4f}"
    low, high = one["interval"]
    return f"{one['mean']:.4f} ({low:.4f} to {high:.4f})"
