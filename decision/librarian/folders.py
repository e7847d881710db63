"""`nextplay playbooks validate|diff|import|export|schema|templates|new`: between folders and the library."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from decision.asking import Data, Key, Url
from decision.librarian.desk import By, desk
from decision.printing import print_json
from playbooks.errors import LibraryError
from playbooks.library.diff import Change, constraint_differences, differences, window_differences
from playbooks.library.documents import Draft
from playbooks.library.reading import assemble, read_approval, read_library, sources_of
from playbooks.library.yaml_text import written
from playbooks.windows import Windows
from storage.errors import ConfigurationError, NextplayError

if TYPE_CHECKING:
    from decision.files import LibraryFiles

Folder = Annotated[Path, typer.Argument(help="Library folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


def validate(folder: Folder, as_json: AsJson = False) -> None:
    """Read a library folder and say all that is wrong, with file, line and field; exit code 1 if anything is.

    What lint finds in a right one is told as warnings. Nothing is imported, and no database is needed.
    """
    errors, files = _checked(folder)
    problems = [problem for error in errors if isinstance(error, LibraryError) for problem in error.problems]
    warnings = [] if files is None else _warnings(files, folder)
    if as_json:
        others = [str(error) for error in errors if not isinstance(error, LibraryError)]
        found = {"problems": msgspec.to_builtins(problems), "others": others, "warnings": warnings}
        print_json({"valid": not errors, **found})
    else:
        for error in errors:
            typer.echo(str(error), err=True)
        for warning in warnings:
            typer.echo(warning, err=True)
        if files is not None:
            arms = sum(len(files.draft.body(one).arms) for one in files.draft.playbooks)
            typer.echo(f"the library is right: {len(files.draft.playbooks)} playbooks with {arms} variants")
    if errors:
        raise typer.Exit(1)


def diff(
    what: Annotated[str, typer.Argument(help="Id of a playbook, or a library folder.")],
    before: Annotated[str, typer.Option("--from", help="A version's number, served or draft.")] = "served",
    after: Annotated[str, typer.Option("--to", help="A version's number, served or draft.")] = "draft",
    data: Data = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Say what differs between two versions of a playbook, or between the library and a folder."""
    if Path(what).is_dir():
        folder = _read(Path(what))
        with desk(data, url, key, None) as here:
            told = _against(_library_of(here.export()), folder)
        if as_json:
            print_json(told)
        else:
            for line in _lines(told):
                typer.echo(line)
        return
    with desk(data, url, key, None) as here:
        found = here.diff(what, before, after)
    if as_json:
        print_json(found["changes"])
    else:
        typer.echo("\n".join(found["text"]) or "nothing differs")


def import_(
    folder: Folder,
    publish: Annotated[bool, typer.Option(help="Serve at once what needs no second person.")] = False,
    data: Data = None,
    url: Url = None,
    key: Key = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Import a library folder: all of it, or nothing. What changed becomes a version that waits as approved.

    With --data the thresholds of approval.yaml are imported too; a running service has those of its own
    folder.
    """
    draft = _read(folder)
    approval = read_approval(folder) if (folder / "approval.yaml").exists() else None
    with desk(data, url, key, by) as here:
        done = here.import_(draft, approval, publish=publish)
    if as_json:
        print_json(done)
        return
    for state in ("live", "pilot", "paused", "waiting", "retired"):
        if done[state]:
            typer.echo(f"{state}: {', '.join(done[state])}")
    for name, needs in done["in_review"].items():
        typer.echo(f"in review: {name}; a second person has to approve it: {'; '.join(needs)}")
    typer.echo(f"unchanged: {done['unchanged']}")


def export(folder: Folder, data: Data = None, url: Url = None, key: Key = None) -> None:
    """Write the newest version of every playbook into a new folder, with what they use, and the windows."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{folder} is not empty: name a folder that is not there yet")
    with desk(data, url, key, None) as here:
        document = here.export()
    # All of it or nothing: written beside, then put in place by one step.
    partial = folder.with_name(f".{folder.name}.partial")
    (partial / "playbooks").mkdir(parents=True)
    for name in ("offers", "contents"):
        (partial / f"{name}.yaml").write_text(written(document[name]), encoding="utf-8")
    if "constraints" in document:
        (partial / "constraints.yaml").write_text(written(document["constraints"]), encoding="utf-8")
    for playbook in document["playbooks"]:
        path = partial / "playbooks" / f"{playbook['id']}.yaml"
        path.write_text(written(playbook), encoding="utf-8")
    if document["windows"]:
        (partial / "windows.yaml").write_text(written(document["windows"]), encoding="utf-8")
    os.replace(partial, folder)  # noqa: PTH105 - replaces an empty folder, which Path.rename may not
    typer.echo(f"{folder}: {len(document['playbooks'])} playbooks")


def schema(
    kind: Annotated[
        str,
        typer.Argument(
            help="playbook, offers, contents, constraints, windows, approval, test_users, protection."
        ),
    ] = "playbook",
) -> None:
    """Print the JSON Schema of a kind of file, for editors and checks."""
    from playbooks.library.schema import SCHEMAS, text_of  # noqa: PLC0415 - builds every schema

    if kind not in SCHEMAS:
        raise ConfigurationError(f"there is no schema {kind!r}; there are {', '.join(SCHEMAS)}")
    typer.echo(text_of(SCHEMAS[kind]), nl=False)


def _checked(folder: Path) -> tuple[list[NextplayError], LibraryFiles | None]:
    """Return what is wrong with a folder, its playbooks first, or its files."""
    from decision.files import read_files  # noqa: PLC0415 - seconds

    errors: list[NextplayError] = []
    try:
        _read(folder)
    except NextplayError as error:
        errors.append(error)
        if isinstance(error, LibraryError):
            return errors, None
    try:
        files = read_files(folder)
    except NextplayError as error:
        return [*errors, error], None
    return errors, None if errors else files


def _warnings(files: LibraryFiles, folder: Path) -> list[str]:
    from decision.foresight.linting import lint_library  # noqa: PLC0415 - with the files

    return [str(one) for one in lint_library(files, folder, datetime.now(UTC))]


def _read(folder: Path) -> Draft:
    """Read the playbooks of a folder, with the events that it knows of."""
    from decision.files import read_specs  # noqa: PLC0415 - seconds
    from playbooks.goals import know_events  # noqa: PLC0415

    if not folder.is_dir():
        raise ConfigurationError(f"there is no folder {folder}: name a library folder")
    know_events(read_specs(folder).events.events)
    return read_library(folder)


def _library_of(document: Mapping[str, Any]) -> Draft:
    return assemble(sources_of(document), [])


def _against(library: Draft, folder: Draft) -> dict[str, Any]:
    there = {one.id: one for one in library.playbooks}
    here = {one.id: one for one in folder.playbooks}
    changed: dict[str, list[Change]] = {}
    for name in sorted(there.keys() & here.keys()):
        if found := differences(library.body(there[name]), folder.body(here[name])):
            changed[name] = found
    constraints: list[Change] = []
    if folder.constraints is not None:
        constraints = constraint_differences(library.constraints or (), folder.constraints)
    return {
        "constraints": constraints,
        "added": sorted(here.keys() - there.keys()),
        "removed": sorted(there.keys() - here.keys()),
        "changed": changed,
        "windows": [] if folder.windows is None else _of_windows(library, folder.windows),
    }


def _of_windows(library: Draft, folder: Windows) -> list[Change]:
    return window_differences(library.windows or Windows(), folder)


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    for change in told["constraints"]:
        yield f"constraints: {change}"
    for name in told["added"]:
        yield f"{name}: only in the folder"
    for name in told["removed"]:
        yield f"{name}: only in the library"
    for name, changes in told["changed"].items():
        for change in changes:
            yield f"{name}: {change}"
    for change in told["windows"]:
        yield f"windows.yaml: {change}"
    if not any(told.values()):
        yield "nothing differs"
