"""`nextplay playbooks templates|new`: a playbook to begin with, put into a library folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from decision.settings import load_settings
from playbooks.errors import LibraryError
from playbooks.library.templates import files_with, names, read_template
from storage.errors import ConfigurationError, NextplayError


def templates() -> None:
    """List the templates that are shipped, and what each is for."""
    for name in names():
        typer.echo(f"{name}\t{read_template(name).about}")


def new(
    playbook: Annotated[str, typer.Argument(help="Id of the new playbook.")],
    template: Annotated[str, typer.Option(help="What to begin with; see `nextplay playbooks templates`.")],
    library: Annotated[
        Path | None, typer.Option(help="Library folder to put it into, if not <data>/library.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder that holds everything the service keeps.")] = None,
) -> None:
    """Put a playbook made from a template into a library folder, with what it speaks of and is not there yet.

    The folder is read as a whole afterwards; if it does not fit together, it is left as it was.
    """
    folder = load_settings(data=data, library=library).library_folder
    if not folder.is_dir():
        raise ConfigurationError(f"there is no library folder {folder}: name one with --library")
    texts, added = files_with(folder, template, playbook)
    before = {path: path.read_bytes() if path.exists() else None for path in texts}
    try:
        for path, text in texts.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        _read(folder)
    except BaseException as error:
        _restore(before)
        if isinstance(error, NextplayError):
            raise LibraryError(f"nothing was added, because with it {error}") from error
        raise
    for line in added:
        typer.echo(line)


def _read(folder: Path) -> None:
    from decision.files import read_files  # noqa: PLC0415 - seconds

    read_files(folder)


def _restore(before: Mapping[Path, bytes | None]) -> None:
    for path, content in before.items():
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(content)
