"""The command line of the library: `nextplay playbooks`."""

from __future__ import annotations

import typer

from decision.foresight.calendar_command import calendar
from decision.foresight.content_commands import preview, proof
from decision.foresight.lint_command import lint
from decision.foresight.rehearse_command import rehearse
from decision.foresight.simulate_command import simulate
from decision.librarian import beginning, flows, folders, inside, moving

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)
app.command("list")(moving.list_)
app.command()(moving.show)
app.command()(folders.validate)
app.command()(lint)
app.command()(preview)
app.command()(proof)
app.command()(rehearse)
app.command()(calendar)
app.command()(folders.diff)
app.command("import")(folders.import_)
app.command()(folders.export)
app.command()(beginning.templates)
app.command()(beginning.new)
app.command()(flows.draw)
app.command()(inside.runs)
app.command("move-runs")(inside.move_runs)
app.command("end-runs")(inside.end_runs)
app.command()(simulate)
moving.add_moves(app)
app.command("report")(moving.pilot_report)
app.command()(folders.schema)


@app.callback()
def playbooks() -> None:
    """Look after the library of playbooks."""
