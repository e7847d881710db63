"""`nextplay playbooks draw`: the flow of a playbook."""

from __future__ import annotations

from typing import Annotated

import typer

from decision.asking import Data, Key, Url
from decision.librarian.desk import desk
from decision.librarian.moving import AsJson, Playbook
from decision.printing import print_json

Version = Annotated[int | None, typer.Option(min=1, help="Version; else the one that is served.")]


def draw(
    playbook: Playbook,
    version: Version = None,
    data: Data = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Draw a playbook's flow as a Mermaid flowchart."""
    with desk(data, url, key, None) as here:
        found = here.flow(playbook, version)
    if as_json:
        print_json(found)
    else:
        typer.echo(found["mermaid"])
