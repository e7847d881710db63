"""`nextplay playbooks rehearse`: a playbook played over its audience, without doing anything."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import typer

from decision.asking import Data, Key, Url, at_hand, remote
from decision.printing import print_json
from playbooks.rehearsal.report import Rehearsed
from storage.errors import ConfigurationError


def rehearse(
    playbook: Annotated[str, typer.Argument(help="Id of the playbook.")],
    version: Annotated[int | None, typer.Option(min=1, help="Version; else the one that is served.")] = None,
    draft: Annotated[bool, typer.Option("--draft", help="Rehearse the draft, as if it were live.")] = False,
    sample: Annotated[
        int, typer.Option(min=1, max=50_000, help="Users whom the policy is asked about.")
    ] = 2_000,
    shown: Annotated[int, typer.Option(min=0, max=100, help="Users of the audience to show.")] = 5,
    seed: Annotated[str, typer.Option(help="Draws the sample and the users shown.")] = "rehearsal",
    data: Data = None,
    url: Url = None,
    key: Key = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Play a playbook over its audience as it is now: who, what, when, at what cost, what stops whom.

    Nothing is written and nobody is contacted.
    """
    if draft and version is not None:
        raise ConfigurationError("--draft and --version name two things to rehearse: give one of them")
    wanted = {"version": version, "draft": draft, "sample": sample, "shown": shown, "seed": seed}
    found = _rehearsed(playbook, wanted, data, url, key)
    if as_json:
        print_json(found)
        return
    from decision.foresight.telling import told  # noqa: PLC0415 - as below

    for line in told(found):
        typer.echo(line)


def _rehearsed(playbook: str, wanted: dict[str, Any], data: Data, url: Url, key: Key) -> Rehearsed:
    if url is not None:
        with remote(url, data, key) as service:
            answer = service.ask("POST", f"/v1/playbooks/{quote(playbook, safe='')}/rehearse", wanted)
        return msgspec.convert(answer, Rehearsed)
    from decision.foresight.rehearsing import Wanted  # noqa: PLC0415
    from decision.foresight.standing_by import foresight_at_hand  # noqa: PLC0415 - seconds

    with at_hand(data) as (settings, database, clock), foresight_at_hand(settings, database, clock) as here:
        return here.rehearsals.rehearse(Wanted(playbook=playbook, **wanted))
