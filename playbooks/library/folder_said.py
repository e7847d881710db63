"""What the service's library folder said when it was read last: only what it says anew is to be done.

The folder is read at each start of a process. If it only differed from what people published since, each
start would undo that.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from operator import eq
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection

from playbooks.library import repository
from playbooks.library.changes import FOLDER

M = TypeVar("M", bound=BaseModel)
_KINDS = "folder:{}"


class FolderSaid:
    """Compares what the folder says with what it said; `keep` remembers it."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self._connection, self._now = connection, now
        self._said: dict[str, dict[str, str]] = {}
        self._new: dict[str, dict[str, str]] = {}

    def again(self, kind: str, name: str, document: M, same: Callable[[M, M], bool] = eq) -> bool:
        """Whether the folder said the same of a document before.

        Args:
            kind: of the document; at most nine letters.
        """
        kept = _KINDS.format(kind)
        if kept not in self._said:
            self._said[kept] = repository.documents(self._connection, kept)
        said, says = self._said[kept].get(name), document.model_dump_json()
        if said == says:
            return True
        self._new.setdefault(kept, {})[name] = says
        return said is not None and _means(document, said, same)

    def keep(self) -> None:
        """Remember what was compared."""
        for kind, documents in self._new.items():
            repository.keep_documents(self._connection, kind, documents, FOLDER, self._now)


def _means(document: M, said: str, same: Callable[[M, M], bool]) -> bool:
    try:
        # Fields that were added since are at their defaults in it.
        return same(type(document).model_validate_json(said), document)
    except ValidationError:
        # Nobody reads it as it was read then.
        return False
