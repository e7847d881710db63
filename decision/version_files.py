"""Policy versions as files: specification and weights together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from storage.errors import ConfigurationError

if TYPE_CHECKING:
    from learning.versions import PolicyVersion


def check_new(out: Path | None) -> None:
    """Make sure, before anything long begins, that a version can be written to a file that is not there yet.

    Raises:
        ConfigurationError: it is there.
    """
    if out is not None and out.exists():
        raise ConfigurationError(f"{out} is there already; name another file, or take it away first")


def write_version(version: PolicyVersion, out: Path | None) -> None:
    """Write a version, whole or not at all; None: nowhere.

    Raises:
        ConfigurationError: it can't be written.
    """
    if out is None:
        return
    unfinished = out.with_name(f".{out.name}.unfinished")
    try:
        unfinished.write_bytes(version.to_bytes())
        unfinished.replace(out)
    except OSError as error:
        raise ConfigurationError(f"can't write {out}: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
