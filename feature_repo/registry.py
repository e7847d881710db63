"""Feast's registry in a file, as Feast keeps it, but replaced as a whole: Feast's own empties it first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from feast.infra.registry.file import FileRegistryStore

from feature_repo.disk import write_whole


class WholeFileRegistryStore(FileRegistryStore):  # type: ignore[misc]  # Feast has no types
    """Named in the repository's configuration, from where Feast finds it."""

    def _write_registry(self, registry_proto: Any) -> None:
        registry_proto.version_id = str(uuid4())
        registry_proto.last_updated.FromDatetime(datetime.now(UTC))
        write_whole(self._filepath, lambda file: file.write(registry_proto.SerializeToString()))
