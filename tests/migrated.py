"""An empty database with the tables of this version, to copy: making one anew takes a second.

Migrating is what `tests/contract/test_storage_migrations.py` tests.
"""

from __future__ import annotations

import atexit
import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from storage.engine import Database


def copy_migrated(path: Path) -> None:
    """Put such a database into a SQLite file that is not there yet, in a folder that may not be either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_migrated(), path)


@cache
def _migrated() -> Path:
    """Return the one that is copied, made when it is first asked for."""
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "nextplay.db"
    Database(f"sqlite:///{path}").close()
    return path
