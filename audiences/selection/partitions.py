"""Users past one machine: partitions of Ray Data that read their own and are answered where they lie."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from audiences.rules import Columns, Rule, compile_columns
from audiences.rules.packing import Bits, Mask
from audiences.selection.cluster import joined
from audiences.selection.crowds import Crowd, Here, Share
from feature_repo.specs import Specs
from feature_repo.store import FeatureRepository

# Shares of a partition, which has so many times `population.SHARE` users.
PARTITION = 10


@dataclass(frozen=True, slots=True)
class OverRay:
    """Reads users on the Ray cluster at an address; `local` starts one here, when first asked.

    What is not in Feast (ids, stages, grades, traits of accounts) goes with each partition. Its features it
    reads from the snapshots, so their folder must be there under the same path wherever Ray works.
    """

    address: str
    features: FeatureRepository
    partition: int = PARTITION

    def read(
        self, shares: Iterable[Share], names: Sequence[str], as_of: datetime, beat: Callable[[], None]
    ) -> Crowd:
        some = list(shares)
        if not some:
            return Here(self.features).read([], names, as_of, beat)
        ray = joined(self.address)
        parts = [some[at : at + self.partition] for at in range(0, len(some), self.partition)]
        items = [{"place": place, "shares": pickle.dumps(part)} for place, part in enumerate(parts)]
        where = pickle.dumps((self.features.root, self.features.specs))
        wave = max(1, int(ray.cluster_resources().get("CPU", 1)))
        read = []
        # In waves, so that it is heard of: a run that isn't is given up.
        for at in range(0, len(items), wave):
            wanted = items[at : at + wave]
            dataset = ray.data.from_items(wanted, override_num_blocks=len(wanted))
            asked = {"where": where, "names": list(names), "as_of": as_of}
            read.append(dataset.map(_read, fn_kwargs=asked).materialize())
            beat()
        return _Apart(
            read[0].union(*read[1:]) if len(read) > 1 else read[0],
            [sum(len(one.users) for one in part) for part in parts],
        )


@dataclass(frozen=True, slots=True)
class _Apart:
    """Users in partitions that Ray holds; `sizes` of all but the last are multiples of 8."""

    dataset: Any
    sizes: Sequence[int]

    def answer(
        self,
        rules: Sequence[Rule],
        tags: Mapping[str, Mask],
        audiences: Mapping[str, Mask],
        now: datetime,
    ) -> Bits:
        ends = np.cumsum(self.sizes)[:-1]
        marks = [
            {name: np.split(mask, ends) for name, mask in of.items()} for of in (dict(tags), dict(audiences))
        ]
        asked = {"rules": pickle.dumps(list(rules)), "marks": marks, "now": now}
        answered = self.dataset.map(_answered, fn_kwargs=asked)
        found = sorted(answered.iter_rows(), key=lambda row: int(row["place"]))
        return np.concatenate(
            [np.frombuffer(row["bits"], np.uint8).reshape(len(rules), -1) for row in found], axis=1
        )


@lru_cache(maxsize=2)
def _features(where: bytes) -> FeatureRepository:
    root: Path
    specs: Specs
    root, specs = pickle.loads(where)  # noqa: S301 - pickled by the process that asks, as all below
    return FeatureRepository(root, specs)


def _read(row: dict[str, Any], where: bytes, names: Sequence[str], as_of: datetime) -> dict[str, Any]:
    shares: list[Share] = pickle.loads(row["shares"])  # noqa: S301
    held = Here(_features(where)).read(shares, names, as_of, lambda: None)
    return {"place": row["place"], "columns": pickle.dumps(held.columns)}


def _answered(
    row: dict[str, Any], rules: bytes, marks: Sequence[Mapping[str, Sequence[Mask]]], now: datetime
) -> dict[str, Any]:
    columns: Columns = pickle.loads(row["columns"])  # noqa: S301
    tags, audiences = ({name: parts[row["place"]] for name, parts in of.items()} for of in marks)
    marked = Columns(columns.length, columns.columns, tags=tags, audiences=audiences)
    bits = compile_columns(pickle.loads(rules))(marked, now=now)  # noqa: S301
    return {"place": row["place"], "bits": bits.tobytes()}
