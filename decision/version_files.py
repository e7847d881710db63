"""Policy versions as files: specification and weights together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from storage.errors import ConfigurationError

if TYPE_CHECKING:
    from learning.versions import PolicyVersion


# How a version begins: a msgpack map of more than fifteen and less than 256 fields.
_FIRST = b"\xde\x00"


def check_new(out: Path | None) -> None:
    """Make sure, before anything long begins, that a version can be written to a file that is not there yet.

    Raises:
        ConfigurationError: it is there.
    """
    if out is not None and out.exists():
        raise ConfigurationError(f"{out} is there already; name another file, or take it away first")


def holds_version(path: Path) -> bool:
    """Say whether a file looks like a policy version, by first bytes that no text and no Parquet has."""
    try:
        with path.open("rb") as file:
            return file.read(len(_FIRST)) == _FIRST
    except OSError:
        return False


def read_version(path: Path) -> PolicyVersion:
    """Return the version in a file.

    Raises:
        ConfigurationError: it can't be read.
        BrokenWeights: it was cut short or changed.
    """
    from learning.versions import PolicyVersion  # noqa: PLC0415 - NumPy and SciPy, needed here only

    try:
        return PolicyVersion.from_bytes(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"can't read {path}: {error.strerror}") from error


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
