"""Looking at audiences: what there is of each, drafts counted, members sampled, overlaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import Any

import numpy as np
from pyroaring import BitMap

from audiences.definitions import AudienceSpec
from audiences.errors import AudienceError
from audiences.rules import Rule
from audiences.selection import repository
from audiences.selection.catalog import Catalog
from audiences.selection.evaluation import People, holding
from audiences.selection.repository import Numbered, State
from audiences.selection.runs import Run, latest
from audiences.selection.service import Audiences
from audiences.selection.sets import SetSpec
from storage.engine import Database

# Users that a draft is counted on where nobody has all of them in memory.
SAMPLE = 10_000
MAX_SHOWN = 1_000
MAX_OVERLAP = 20
_Z = 1.959963984540054  # normal quantile of 97.5 %


@dataclass(frozen=True, slots=True)
class Count:
    """How many users a draft would select. With `sampled`, an estimate between `low` and `high` (95 %)."""

    selected: int
    users: int
    as_of: datetime
    sampled: int | None
    low: int
    high: int


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

    def count(self, rule: str | None, sets: SetSpec | None, now: datetime) -> Count:
        """Count whom a draft would select: of all users if they are in memory, else of a sample.

        Raises:
            RuleError: the rule is none.
            AudienceError: a set names an audience that does not exist.
            feature_repo.errors.SnapshotMissing: no features were computed yet.
        """
        memberships = self._audiences.memberships
        if sets is not None:
            known = self._audiences.catalogs.read().specs
            unknown = sorted(sets.names() - known.keys())
            if unknown:
                raise AudienceError(f"there is no audience {', '.join(map(repr, unknown))}")
            members = len(sets.members(memberships.members))
            as_of = min(
                (memberships.live[n].as_of for n in sets.names() if n in memberships.live), default=now
            )
            return Count(members, self._users(), as_of, None, members, members)
        parsed = self._audiences.catalogs.rule(rule or "")
        resident = self._audiences.people
        if resident is not None and parsed.tags <= resident[0].columns.tags.keys():
            people, as_of = resident
            found = len(self._holding(parsed, people, as_of))
            return Count(found, len(people.numbers), as_of, None, found, found)
        return self._estimated(parsed, now)

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

    def _holding(self, rule: Rule, people: People, as_of: datetime) -> BitMap:
        members = self._audiences.memberships.members
        return holding([rule], people, members, as_of, self._audiences.answers)[0]

    def _estimated(self, rule: Rule, now: datetime) -> Count:
        with self._database.read() as connection:
            everybody = repository.population(connection)
        users = [Numbered(n, u) for n, u in everybody if self._audiences.canonical(u) == u]
        sampled = users
        if len(users) > SAMPLE:
            places = np.sort(np.random.default_rng().choice(len(users), size=SAMPLE, replace=False))
            sampled = [users[place] for place in places]
        people = self._audiences.population.read(sampled, rule.tags, now, everybody=False)
        found = len(self._holding(rule, people, now))
        if len(sampled) == len(users):
            return Count(found, len(users), now, None, found, found)
        low, high = _interval(found, len(sampled))
        scale = len(users)
        return Count(
            round(found / len(sampled) * scale),
            scale,
            now,
            len(sampled),
            math.floor(low * scale),
            math.ceil(high * scale),
        )

    def _users(self) -> int:
        with self._database.read() as connection:
            return repository.count_numbered(connection)

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


def _interval(found: int, of: int) -> tuple[float, float]:
    """Wilson's interval of a share, 95 % (Wilson 1927)."""
    share = found / of
    middle = share + _Z**2 / (2 * of)
    spread = _Z * math.sqrt(share * (1 - share) / of + _Z**2 / (4 * of**2))
    scale = 1 + _Z**2 / of
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
