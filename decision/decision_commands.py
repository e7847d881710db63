"""The command line of the decision log: `nextplay decisions export`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from storage.errors import ConfigurationError

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)

_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
_SUFFIXES = {".parquet": "parquet", ".jsonl": "jsonl", ".dsjson": "dsjson"}


Data = Annotated[Path | None, typer.Option(help="Folder of the service, whether it runs or not.")]
Format = Annotated[
    str | None, typer.Option("--format", help="parquet, jsonl or dsjson; if not given, the file's ending.")
]
Placement = Annotated[list[str] | None, typer.Option(help="Only decisions at it; may be given again.")]


def _moment(text: str) -> Any:
    return typer.Option(formats=_FORMATS, help=text)


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="The file to write; it must not be there yet.")],
    data: Data = None,
    format_: Format = None,
    placement: Placement = None,
    since: Annotated[datetime | None, _moment("The first moment, UTC.")] = None,
    until: Annotated[datetime | None, _moment("The first moment left out, UTC.")] = None,
) -> None:
    """Write the decision log, with the rewards that matured, to one file."""
    from decision.observe.looking import looking_at  # noqa: PLC0415 - databases' drivers
    from learning.exports import FORMATS, export_log  # noqa: PLC0415

    chosen = format_ or _SUFFIXES.get(out.suffix)
    known = next((one for one in FORMATS if one == chosen), None)
    if known is None:
        asked = f"there is no format {format_!r}" if format_ else f"the ending of {out.name} names no format"
        raise ConfigurationError(f"{asked}; give --format {', '.join(FORMATS)}")
    with looking_at(data) as database:
        done = export_log(
            database,
            out,
            known,
            placements=placement or (),
            since=since and since.replace(tzinfo=UTC),
            until=until and until.replace(tzinfo=UTC),
        )
    written = done.decisions - done.fallbacks if known == "dsjson" else done.decisions
    typer.echo(
        f"{written} decisions written to {out}; of {done.decisions}, {done.rewarded} have a reward and "
        f"{done.fallbacks} are fallbacks"
    )
