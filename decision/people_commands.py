"""The command line of people: `nextplay people list|report|leave|export`, of a running service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from decision.asking import Key, remote
from decision.printing import print_json

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)

Url = Annotated[str, typer.Option(help="Address of the running service.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_HERE = "http://127.0.0.1:8321"
_COLUMNS = ("opened", "done_in_time", "done_late", "left", "open", "overdue", "escalated")
_NOBODY = "(nobody)"


@app.command("list")
def list_people(url: Url = _HERE, key: Key = None, as_json: Json = False) -> None:
    """Print who is on the staff, who is away or left, and how many undone tasks each has."""
    with remote(url, None, key) as service:
        answer: Any = service.ask("GET", "/v1/people")
    if as_json:
        print_json(answer)
        return
    typer.echo("id\tname\tteam\ttasks\tthere")
    for one in answer["people"]:
        there = f"left, went to {one['went_to']}" if one["went_to"] else "away" if one["away"] else "yes"
        typer.echo("\t".join([one["id"], one["name"], one["team"] or "-", str(one["tasks"]), there]))


@app.command()
def report(
    from_: Annotated[
        str, typer.Option("--from", help="Tasks opened from here on, 2026-03-01T00:00:00Z.")
    ] = "",
    to: Annotated[str, typer.Option(help="Up to here; now unless said.")] = "",
    url: Url = _HERE,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Print what became of tasks by person and team: in time, late, left, overdue, escalated, results."""
    chosen = {name: value for name, value in (("from", from_), ("to", to)) if value}
    with remote(url, None, key) as service:
        answer: Any = service.ask("GET", f"/v1/people/report?{urlencode(chosen)}")
    if as_json:
        print_json(answer)
        return
    typer.echo("\t".join(["who", *_COLUMNS, "median hours", "results"]))
    for what in ("people", "teams"):
        for name, tally in answer[what].items():
            typer.echo(_line(f"team {name or _NOBODY}" if what == "teams" else name or _NOBODY, tally))
    typer.echo(_line("total", answer["total"]))


@app.command()
def leave(
    person: Annotated[str, typer.Argument(help="Who leaves, by the id in people.yaml.")],
    to: Annotated[str, typer.Option(help="The person or team that everything goes to.")],
    why: Annotated[str, typer.Option(help="Why, for the optimisation log.")] = "",
    url: Url = _HERE,
    key: Key = None,
) -> None:
    """Let all undone tasks and owned users of a person go to somebody else, in one step."""
    with remote(url, None, key) as service:
        body = {"to": to, "why": why}
        left: Any = service.ask("POST", f"/v1/people/{quote(person, safe='')}/leave", body)
    typer.echo(
        f"{left['person']} left on {left['at'][:16]}Z: {left['tasks']} tasks and what is owned "
        f"({left['owned']} accounts and users) went to {left['to']}"
    )


@app.command()
def export(
    what: Annotated[str, typer.Argument(help="tasks, or users with their owners.")],
    out: Annotated[Path, typer.Option(help="Where the CSV goes; a file that is there stays.")],
    person: Annotated[str | None, typer.Option(help="Only this person's.")] = None,
    team: Annotated[str | None, typer.Option(help="Only this team's.")] = None,
    url: Url = _HERE,
    key: Key = None,
) -> None:
    """Take tasks or users away as CSV; how many a day is bounded, and each time is recorded."""
    if out.exists():
        raise typer.BadParameter(f"{out} is there already; name another file", param_hint="--out")
    chosen = {name: value for name, value in (("person", person), ("team", team)) if value}
    with remote(url, None, key) as service:
        text = service.ask_text("POST", "/v1/people/export", {"what": what, **chosen})
    out.write_text(text, encoding="utf-8", newline="")
    typer.echo(f"{max(0, len(text.splitlines()) - 1)} rows in {out}")


def _line(name: str, tally: dict[str, Any]) -> str:
    hours = "-" if tally["median_seconds"] is None else f"{tally['median_seconds'] / 3600:.1f}"
    results = ", ".join(f"{code} {number}" for code, number in sorted(tally["results"].items())) or "-"
    return "\t".join([name, *(str(tally[column]) for column in _COLUMNS), hours, results])
