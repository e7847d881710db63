"""`nextplay playbooks lint`: what is right in its form and hardly meant."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from decision.asking import Key, Url, at_hand, remote
from decision.printing import print_json
from decision.settings import load_settings
from playbooks.lint import Finding, Severity

Strict = Annotated[bool, typer.Option("--strict", help="Let warnings be enough for exit code 1.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")]


def lint(
    path: Annotated[
        Path | None, typer.Argument(help="Library folder, if not that of --library or of <data>.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of a service that does not run: its users and events are looked at too."),
    ] = None,
    library: Annotated[Path | None, typer.Option(help="Library folder, if not <data>/library.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
    strict: Strict = False,
) -> None:
    """Look for what can't be meant: dead states, rules that match nobody, plans that never win.

    Exit code 1 if an error was found, or with --strict a warning. With --url a running service looks at what
    it serves.
    """
    findings = _findings(path, data, library, url, key)
    if as_json:
        print_json({"findings": findings})
    else:
        from decision.foresight.linting import told  # noqa: PLC0415 - as below

        for line in told(findings):
            typer.echo(line)
    bad = {Severity.ERROR, Severity.WARNING} if strict else {Severity.ERROR}
    if any(one.severity in bad for one in findings):
        raise typer.Exit(1)


def _findings(
    path: Path | None, data: Path | None, library: Path | None, url: str | None, key: str | None
) -> list[Finding]:
    if url is not None:
        with remote(url, data, key) as service:
            answer: Any = service.ask("GET", "/v1/library/lint")
        return msgspec.convert(answer["findings"], list[Finding])
    from decision.files import read_files  # noqa: PLC0415 - seconds, and not needed with --url
    from decision.foresight.linting import Members, lint_library  # noqa: PLC0415

    if data is None:
        folder = path or load_settings(library=library).library_folder
        return lint_library(read_files(folder), folder, datetime.now(UTC))
    with at_hand(data) as (settings, database, clock):
        folder = path or library or settings.library_folder
        users = Members.of(database)
        return lint_library(read_files(folder), folder, clock.now(), database=database, users=users)
