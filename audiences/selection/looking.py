"""Looking at audiences: what there is of each, members sampled, overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from pyroaring import BitMap

from audiences.definitions import AudienceSpec
from audiences.errors import AudienceError
from audiences.selection import repository
from audiences.selection.catalog import Catalog
from audiences.selection.repository import State
from audiences.selection.runs import Run, latest
from audiences.selection.service import Audiences
from storage.engine import Database

MAX_SHOWN = 1_000
MAX_OVERLAP = 20


class Looking:
    """What operators see of audiences. Changes nothing."""

    def __init__(self, database: Database, audiences: Audiences) -> None:
        self._database = database
        self._audiences = audiences

    def all(self) -> list[dict[str, Any]]:
        """Every audience, as `one`."""
        with self._database.read() as connection:
            catalog = self._audiences.catalogs.read(connection)
            live = repository.live(connection)
            run = latest(connection)
            lists = repository.latest_lists(connection)
        last = self._run(run)
        return [self._told(catalog, spec, live, last, lists) for spec in catalog.specs.values()]

    def one(self, audience: str) -> dict[str, Any]:
        """An audience: definition and version, size, freshness, last run, and what is wrong with it.

        Raises:
            UnknownAudience: there is none.
        """
        self._audiences.catalogs.read().spec(audience)
        return next(one for one in self.all() if one["id"] == audience)

    def sample(self, audience: str, size: int, seed: str) -> dict[str, Any]:
        """Some members drawn at random; the same seed draws the same from the same members."""
        self._audiences.catalogs.read().spec(audience)
        members = self._audiences.memberships.members(audience)
        chance = np.random.default_rng(list(seed.encode()))
        wanted = min(size, MAX_SHOWN, len(members))
        places = sorted(chance.choice(len(members), size=wanted, replace=False).tolist()) if wanted else []
        with self._database.read() as connection:
            users = repository.ids_of(connection, [members[place] for place in places])
        live = self._audiences.memberships.live.get(audience)
        return {"members": users, "size": len(members), "as_of": live.as_of if live else None}

    def overlap(self, audiences: Sequence[str]) -> dict[str, Any]:
        """How many users two or more audiences share, two by two and all together.

        Raises:
            AudienceError: fewer than two, or too many.
            UnknownAudience: one of them does not exist.
        """
        names = list(dict.fromkeys(audiences))
        if not 2 <= len(names) <= MAX_OVERLAP:
            raise AudienceError(f"name 2 to {MAX_OVERLAP} different audiences, not {len(names)}")
        catalog = self._audiences.catalogs.read()
        for name in names:
            catalog.spec(name)
        members = {name: self._audiences.memberships.members(name) for name in names}
        return {
            "sizes": {name: len(bitmap) for name, bitmap in members.items()},
            "in_any": len(BitMap.union(*members.values())),
            "in_all": len(BitMap.intersection(*members.values())),
            "pairs": [
                {
                    "audiences": [one, other],
                    "in_both": members[one].intersection_cardinality(members[other]),
                    "jaccard": _share(members[one], members[other]),
                }
                for one, other in combinations(names, 2)
            ],
        }

    def _told(
        self,
        catalog: Catalog,
        spec: AudienceSpec,
        live: dict[str, State],
        last: dict[str, Any] | None,
        lists: dict[str, repository.Upload],
    ) -> dict[str, Any]:
        state = live.get(spec.id)
        told: dict[str, Any] = {
            **spec.document(),
            "kind": spec.kind,
            "source": "api" if spec.id in catalog.versions else "file",
            "version": catalog.versions.get(spec.id, 0),
            "size": state.size if state else None,
            "as_of": state.as_of if state else None,
            # Who is in it is found by another definition than the one shown, until the next evaluation.
            "current": self._audiences.is_current(catalog, spec.id, live, lists),
            "run": last,
        }
        if spec.id in lists:
            upload = lists[spec.id]
            told["uploaded"] = {"at": upload.made_at, "by": upload.made_by, "unknown": upload.unknown}
        if spec.id in catalog.problems:
            told["problem"] = catalog.problems[spec.id]
        return told

    def _run(self, run: Run | None) -> dict[str, Any] | None:
        if run is None:
            return None
        runs = self._audiences.runs
        return {
            "id": run.id,
            "kind": run.kind,
            "status": run.status,
            "as_of": run.as_of,
            "started_at": run.started_at,
            "heartbeat_at": run.heartbeat_at,
            "ended_at": run.ended_at,
            "users": run.users,
            "problem": run.problem,
            "overdue": run.overdue(runs.now(), runs.overdue_after),
        }


def _share(one: BitMap, other: BitMap) -> float:
    return round(one.jaccard_index(other), 6) if one or other else 0.0
