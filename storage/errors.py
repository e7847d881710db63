"""Errors of the whole service; every room hangs its own tree below `NextplayError`.

NextplayError
├── ConfigurationError        a setting or file is wrong; the message says which and what to write instead
└── StorageError
    ├── DatabaseUnavailable   the database can't be reached or refuses to write (retry can help)
    │   └── DatabaseRefuses   it answers and takes no writes: its disk is full, it is read-only
    ├── SchemaMismatch        the database is older or newer than the code
    ├── DatabaseInUse         another server already owns this SQLite file
    └── WriterBusy            the writer's queue is full (retry can help)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class NextplayError(Exception):
    """A failure whose text may be shown: what was wrong, where, and what to do.

    `status` is the HTTP status it maps to, `code` the stable name in a problem document,
    `retry` whether the same request may succeed later (`retry_after`: in so many seconds), `members` what the
    document says beside the text.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    retry: ClassVar[bool] = False
    retry_after: int | None = None

    @property
    def members(self) -> Mapping[str, Any]:
        return {}


class ConfigurationError(NextplayError):
    status = 500
    code = "configuration"


class StorageError(NextplayError):
    status = 500
    code = "storage"


class DatabaseUnavailable(StorageError):
    status = 503
    code = "database-unavailable"
    retry = True


class DatabaseRefuses(DatabaseUnavailable):
    pass


class SchemaMismatch(StorageError):
    status = 503
    code = "schema-mismatch"


class DatabaseInUse(StorageError):
    status = 503
    code = "database-in-use"


class WriterBusy(StorageError):
    status = 503
    code = "writer-busy"
    retry = True
