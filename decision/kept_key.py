"""The admin key of a service in its data folder, for those who may read the folder."""

from __future__ import annotations

import os
from pathlib import Path

from decision.auth.models import mint

KEY_FILE = "key"


def kept_key(data: Path) -> str:
    """Return the key in the data folder, made now if there is none; only the owner may read it."""
    path = data / KEY_FILE
    if not path.exists():
        write_secret(path, f"{mint()}\n")
    return path.read_text(encoding="utf-8").strip()


def write_secret(path: Path, text: str) -> None:
    """Write a new file that only its owner may read, from its first byte on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
