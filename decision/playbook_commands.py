"""The command line of the library: `nextplay playbooks lint`."""

from __future__ import annotations

import typer

from decision.foresight.lint_command import lint

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)
app.command()(lint)


@app.callback()
def playbooks() -> None:
    """Look after the library of playbooks."""
