"""`nextplay playbooks list|show|diff|pilot-report` and the moves: submit, approve, publish, pause, …"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from decision.asking import Data, Key, Url
from decision.librarian.desk import By, desk
from decision.printing import print_json
from playbooks.library.lifecycle import MOVES, Move, State
from playbooks.money import shown

Playbook = Annotated[str, typer.Argument(help="Id of the playbook.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


def list_(
    state: Annotated[State | None, typer.Option(help="Only those with a version in this state.")] = None,
    data: Data = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List the playbooks: version and state of each, its name and owner."""
    with desk(data, url, key, None) as here:
        found = here.list(state)
    if as_json:
        print_json(found)
        return
    for one in found:
        others = ", ".join(
            f"{v['version']} {v['state']}" for v in one["versions"] if v["version"] != one["version"]
        )
        draft = f"draft by {one['draft']['edited_by']}" if one["draft"] else ""
        notes = "; ".join(filter(None, (one["owner"], others, draft)))
        version = one["version"] or "-"
        typer.echo(
            f"{one['id']}@{version}\t{one['state']}\t{one['name']}" + (f"\t({notes})" if notes else "")
        )


def show(
    playbook: Playbook,
    data: Data = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Show a playbook: where its versions stand and why, and the variants of the one that is served."""
    with desk(data, url, key, None) as here:
        found = here.show(playbook)
    if as_json:
        print_json(found)
        return
    for one in found["versions"]:
        typer.echo(_line(one))
    for arm in found.get("arms", ()):
        worth = f"\t{shown(arm['value'], arm['currency'])}" if arm["currency"] else ""
        typer.echo(f"  variant {arm['id'].partition('/')[2]}\t{arm['channel']}\t{arm['content']}{worth}")
    if found["draft"]:
        typer.echo(f"draft: revision {found['draft']['revision']} by {found['draft']['edited_by']}")


def pilot_report(
    playbook: Playbook,
    data: Data = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Tell how a pilot stands, or what the last one came to."""
    with desk(data, url, key, None) as here:
        found = here.pilot(playbook)
    if as_json:
        print_json(found)
        return
    report = found["report"]
    typer.echo(_line(found))
    typer.echo(f"  {report['outcome']}: {report['why']}")
    typer.echo(
        f"  {report['rewards']} rewards, {report['waiting']} waiting; mean {report['mean']:.4g}, "
        f"{100 * (1 - report['alpha']):g} % interval [{report['low']:.4g}, {report['high']:.4g}] "
        f"({report['test'].replace('_', ' ')}), expected {report['floor']:g} to {report['ceiling']:g}"
    )


def add_moves(app: typer.Typer) -> None:
    """Add a command for every move."""
    for move in MOVES.values():
        app.command(move.name, help=f"{move.why[0].upper()}{move.why[1:]}.")(_command(move))


def _command(move: Move) -> Callable[..., None]:
    def run(
        playbook: Playbook,
        version: Annotated[int | None, typer.Option(min=1, help="Version; else the newest it fits.")] = None,
        why: Annotated[str, typer.Option(help="Why, for those who read it later.")] = "",
        data: Data = None,
        url: Url = None,
        key: Key = None,
        by: By = None,
        as_json: AsJson = False,
    ) -> None:
        with desk(data, url, key, by) as here:
            moved = here.move(playbook, move.name, version, why)
        if as_json:
            print_json(moved)
        else:
            typer.echo(_line(moved))
            for warning in moved.get("warnings", ()):
                typer.echo(f"  lint: {warning}", err=True)

    return run


def _line(one: Mapping[str, Any]) -> str:
    why = f": {one['why']}" if one["why"] else ""
    approved = f", approved by {one['approved_by']}" if one["approved_by"] else ""
    state = one["state"].replace("_", " ")
    line = f"{one['playbook']}@{one['version']} is {state} (by {one['moved_by']}{approved}){why}"
    needs = "".join(f"\n  a second person has to approve it: {need}" for need in one["needs"])
    return line + (needs if one["state"] == State.IN_REVIEW else "")
