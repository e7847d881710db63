"""Takes users out of everything the feature repository keeps of them.

Files are replaced as a whole, under the same names, by what is left: a part of the history without events
still says up to which of them the history reaches. Nobody may be filling the history or computing a snapshot
meanwhile (`FeatureRepository.alone`). To be called when the users' events can't be read
from the ledger any more; otherwise they come back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.disk import using
from feature_repo.history import write_atomically
from feature_repo.store import FeatureRepository


def erase_history(repository: FeatureRepository, user_ids: Sequence[str]) -> int:
    """Take users' events out of the history; returns how many there were. Raises StoreUnavailable."""
    with repository.alone(), using(repository.root):
        return _without(repository.history.root.glob("*/*.parquet"), "user_id", user_ids)


def erase_snapshots(repository: FeatureRepository, user_ids: Sequence[str]) -> int:
    """Take users out of all snapshots of all views; returns how many rows went. Raises StoreUnavailable."""
    with repository.alone(), using(repository.root):
        return sum(
            _without((repository.snapshots.root / view.name).glob("*.parquet"), view.key, user_ids)
            for view in repository.specs.views.values()
            if view.of_users
        )


def erase_online(repository: FeatureRepository, user_ids: Sequence[str]) -> int:
    """Take users out of the states and the online store; returns how many rows went there.

    Raises StoreUnavailable.
    """
    with repository.writing(), using(repository.root):
        states = repository.live.states
        for user_id in user_ids:
            states.drop(user_id)
        states.settle()
        gone = sum(
            repository.online_access.remove(view.name, user_ids)
            for view in repository.specs.views.values()
            if view.of_users
        )
        repository.online_access.settle()
        return gone


def _without(files: Iterable[Path], column: str, user_ids: Sequence[str]) -> int:
    wanted, gone = pa.array(user_ids, pa.string()), 0
    for path in sorted(files):
        with pq.ParquetFile(path) as file:
            there = pc.is_in(file.read(columns=[column])[column], value_set=wanted)
            number: int = pc.sum(there).as_py() or 0
            if number:
                left = file.read().filter(pc.invert(there))
        if number:
            write_atomically(left, path)
            gone += number
    return gone
