"""Lifecycles of one service: moves users and accounts by rules or by hand, and knows where each stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from audiences.errors import StageError, UnknownLifecycle
from audiences.identity.people import EveryoneAlone, People
from audiences.stages import repository
from audiences.stages.definitions import Lifecycle
from audiences.stages.facts import StageChange, came
from audiences.stages.moves import Move, moves
from storage import ledger
from storage.engine import Database
from storage.ledger import NewFact
from storage.pace import Pace
from storage.writer import TURN_ROWS, Lane

# Users or accounts of a turn at most: each writes where it stands, and a fact for every move.
_TURN_IDS = TURN_ROWS // 4


class Stages:
    """The lifecycles of one service."""

    def __init__(
        self, database: Database, lifecycles: Sequence[Lifecycle], people: People | None = None
    ) -> None:
        self._database = database
        self._people = people or EveryoneAlone()
        self._lifecycles = {one.spec.id: one for one in lifecycles}
        self._moving = Pace(_TURN_IDS)

    @property
    def lifecycles(self) -> list[Lifecycle]:
        """The lifecycles there are."""
        return list(self._lifecycles.values())

    def move(
        self,
        lifecycle: str,
        ids: Sequence[str],
        holds: Sequence[npt.NDArray[np.bool_]],
        as_of: datetime,
    ) -> int:
        """Move users, or accounts, as the rules say; return how many changed their stage.

        Who is there for the first time is placed: that is recorded too, but quietly.

        Args:
            ids: whom the rules were evaluated for.
            holds: for each rule of the lifecycle, for which of `ids` it is true.
        """
        known = self._lifecycles[lifecycle]
        with self._database.read() as connection:
            standing = repository.standing(connection, lifecycle, of_accounts=known.of_accounts)
        start = known.spec.start
        made: dict[str, list[Move]] = {one: [] for one in ids if one not in standing}
        for move in moves(known, [standing.get(one, (start, as_of))[0] for one in ids], holds):
            made.setdefault(ids[move.row], []).append(move)
        work = partial(_keep, lifecycle=known, made=made, standing=standing, as_of=as_of)
        return self._moving.write(self._database, sorted(made), work, rows_each=4)

    def put(
        self,
        whom: str,
        lifecycle: str,
        stage: str,
        *,
        by: str,
        reason: str,
        now: datetime,
        of_accounts: bool = False,
    ) -> None:
        """Put a user, or an account, into a stage by hand. Rules go on from there.

        Raises:
            UnknownLifecycle: there is no such lifecycle of users, or of accounts.
            StageError: it has no such stage, or the user or account is in it.
        """
        known = self._known(lifecycle)
        if known.of_accounts is not of_accounts:
            raise UnknownLifecycle(
                f"the lifecycle {lifecycle!r} is of {known.spec.of}s: name one of them, with "
                f"/v1/{known.spec.of}s/…/stages/{lifecycle}"
            )
        if stage not in known.stages:
            raise StageError(
                f"the lifecycle {lifecycle!r} has no stage {stage!r}; there are {', '.join(known.stages)}"
            )
        work = partial(_put, lifecycle=known, whom=whom, stage=stage, by=by, reason=reason, now=now)
        self._database.write(work, rows=2, lane=Lane.REQUEST)

    def of(self, whom: str, *, of_accounts: bool = False) -> dict[str, dict[str, Any]]:
        """Return the stage of a user, or of an account, in each lifecycle of its kind, and since when."""
        with self._database.read() as connection:
            found = repository.standing_of(connection, whom, of_accounts=of_accounts)
        return {
            lifecycle: {"stage": stage, "since": since}
            for lifecycle, (stage, since) in found.items()
            if lifecycle in self._lifecycles and self._lifecycles[lifecycle].of_accounts is of_accounts
        }

    def standing_in(self, lifecycle: str) -> dict[str, str]:
        """Return the stage of every user, or account, in a lifecycle. Raises UnknownLifecycle."""
        return {one: stage for one, (stage, _) in self._standing(self._known(lifecycle)).items()}

    def describe(self, lifecycle: str, now: datetime) -> dict[str, Any]:
        """Return a lifecycle with its sizes, and for how long (days) users or accounts stand in each stage.

        Raises:
            UnknownLifecycle: there is no such lifecycle.
        """
        known = self._known(lifecycle)
        standing, counted = self._standing(known), f"{known.spec.of}s"
        days: dict[str, list[float]] = {stage: [] for stage in known.stages}
        for stage, since in standing.values():
            days.setdefault(stage, []).append((now - since).total_seconds() / 86_400)
        return {
            **known.spec.model_dump(),
            counted: len(standing),
            "standing": {
                stage: {
                    counted: len(values),
                    "median_days": round(float(np.median(values)), 2) if values else None,
                    "p90_days": round(float(np.quantile(values, 0.9)), 2) if values else None,
                }
                for stage, values in days.items()
            },
        }

    def _standing(self, lifecycle: Lifecycle) -> dict[str, tuple[str, datetime]]:
        """Where persons stand, or accounts.

        A profile that was joined to another keeps its place for when they part.
        """
        of_accounts = lifecycle.of_accounts
        with self._database.read() as connection:
            standing = repository.standing(connection, lifecycle.spec.id, of_accounts=of_accounts)
        if of_accounts:
            return standing
        return {user: where for user, where in standing.items() if self._people.canonical(user) == user}

    def _known(self, lifecycle: str) -> Lifecycle:
        known = self._lifecycles.get(lifecycle)
        if known is None:
            there = ", ".join(self._lifecycles) or "none"
            raise UnknownLifecycle(f"there is no lifecycle {lifecycle!r}; there are {there}")
        return known


def _keep(
    connection: Connection,
    ids: Sequence[str],
    lifecycle: Lifecycle,
    made: Mapping[str, Sequence[Move]],
    standing: Mapping[str, tuple[str, datetime]],
    as_of: datetime,
) -> int:
    """Keep what was made of some users or accounts; return how many of them changed their stage."""
    name, start, of_accounts = lifecycle.spec.id, lifecycle.spec.start, lifecycle.of_accounts
    facts: list[NewFact] = []
    after: dict[str, tuple[str, datetime]] = {}
    for one in ids:
        of_one = made[one]
        first = one not in standing
        since = as_of if first else standing[one][1]
        if first:
            placed = StageChange(name, None, start, quiet=True)
            facts.append(came(one, placed, as_of, of_accounts=of_accounts))
        for move in of_one:
            change = StageChange(
                name,
                move.before,
                move.after,
                (as_of - since).total_seconds(),
                rule=str(lifecycle.rules[move.rule]),
                quiet=first,
            )
            facts.append(came(one, change, as_of, of_accounts=of_accounts))
            since = as_of
        after[one] = (of_one[-1].after if of_one else start, as_of)
    repository.keep(connection, name, after, of_accounts=of_accounts)
    ledger.append(connection, facts, as_of)
    return sum(bool(made[one]) for one in ids)


def _put(
    connection: Connection, lifecycle: Lifecycle, whom: str, stage: str, by: str, reason: str, now: datetime
) -> None:
    name, of_accounts = lifecycle.spec.id, lifecycle.of_accounts
    before = repository.standing_of(connection, whom, of_accounts=of_accounts).get(name)
    if before is not None and before[0] == stage:
        raise StageError(f"{lifecycle.spec.of} {whom!r} is in the stage {stage!r} of {name!r} already")
    repository.keep(connection, name, {whom: (stage, now)}, of_accounts=of_accounts)
    change = StageChange(
        name,
        before[0] if before else None,
        stage,
        (now - before[1]).total_seconds() if before else None,
        by=by,
        reason=reason,
    )
    ledger.append(connection, [came(whom, change, now, of_accounts=of_accounts)], now)
