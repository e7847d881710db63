"""`nextplay init`: a small project to begin with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from decision.kept_key import kept_key, write_secret
from decision.settings import SETTINGS_FILE
from storage.errors import ConfigurationError

# A library of two playbooks at one placement, and three orders of two users to try it on.
PROJECT = Path(__file__).parent / "first_project"


def init(
    folder: Annotated[Path, typer.Argument(help="Data folder that is to be made.")],
) -> None:
    """Make a data folder with a small library to begin with, three orders to try it on, and a key.

    It is all there or nothing is. Serve it with `nextplay serve --data FOLDER`.
    """
    if folder.exists():
        raise ConfigurationError(f"there is a {folder} already: name a folder that is to be made")
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        shutil.copytree(PROJECT, unfinished)
        write_secret(unfinished / SETTINGS_FILE, f"NEXTPLAY_ADMIN_KEY={kept_key(unfinished)}\n")
        unfinished.rename(folder)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise ConfigurationError(f"{folder} can't be made: {error}") from error
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        typer.echo(path)
    typer.echo(
        f"\nServe it with `nextplay serve --data {folder}`; {folder / 'key'} holds a key for everything."
    )
