"""Lifecycles of one service: moves users by rules or by hand, and knows where each stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from audiences.errors import StageError, UnknownLifecycle
from audiences.identity.people import EveryoneAlone, People
from audiences.stages import repository
from audiences.stages.definitions import Lifecycle
from audiences.stages.moves import Move, moves
from storage import ledger
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.writer import TURN_ROWS

# Users of a turn: each writes where it stands, and a fact for every move.
_TURN_USERS = TURN_ROWS // 4


class StageChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of the fact that a user came to a stage: from where, after how long, by which rule or whom.

    `quiet` says that the user was placed for the first time, so nothing is to be started by it.
    """

    lifecycle: str
    before: str | None
    after: str
    seconds_before: float | None = None
    rule: str = ""
    by: str = ""
    reason: str = ""
    quiet: bool = False


class Stages:
    """The lifecycles of one service."""

    def __init__(
        self, database: Database, lifecycles: Sequence[Lifecycle], people: People | None = None
    ) -> None:
        self._database = database
        self._people = people or EveryoneAlone()
        self._lifecycles = {one.spec.id: one for one in lifecycles}

    @property
    def lifecycles(self) -> list[Lifecycle]:
        """The lifecycles there are."""
        return list(self._lifecycles.values())

    def move(
        self,
        lifecycle: str,
        users: Sequence[str],
        holds: Sequence[npt.NDArray[np.bool_]],
        as_of: datetime,
    ) -> int:
        """Move users as the rules say; return how many changed their stage.

        Who is there for the first time is placed: that is recorded too, but quietly.

        Args:
            users: whom the rules were evaluated for.
            holds: for each rule of the lifecycle, for which of `users` it is true.
        """
        known = self._lifecycles[lifecycle]
        with self._database.read() as connection:
            standing = repository.standing(connection, lifecycle)
        start = known.spec.start
        made: dict[str, list[Move]] = {user: [] for user in users if user not in standing}
        for move in moves(known, [standing.get(user, (start, as_of))[0] for user in users], holds):
            made.setdefault(users[move.row], []).append(move)
        changed = sorted(made)
        for at in range(0, len(changed), _TURN_USERS):
            share = {user: made[user] for user in changed[at : at + _TURN_USERS]}
            work = partial(_keep, lifecycle=known, made=share, standing=standing, as_of=as_of)
            self._database.write(work, rows=4 * len(share))
        return sum(bool(of_user) for of_user in made.values())

    def put(self, user_id: str, lifecycle: str, stage: str, *, by: str, reason: str, now: datetime) -> None:
        """Put a user into a stage by hand. Rules go on from there.

        Raises:
            UnknownLifecycle: there is no such lifecycle.
            StageError: it has no such stage, or the user is in it.
        """
        known = self._known(lifecycle)
        if stage not in known.stages:
            raise StageError(
                f"the lifecycle {lifecycle!r} has no stage {stage!r}; there are {', '.join(known.stages)}"
            )
        work = partial(_put, lifecycle=lifecycle, user_id=user_id, stage=stage, by=by, reason=reason, now=now)
        self._database.write(work, rows=2)

    def of(self, user_id: str) -> dict[str, dict[str, Any]]:
        """Return a user's stage in each lifecycle, and since when."""
        with self._database.read() as connection:
            found = repository.standing_of(connection, user_id)
        return {
            lifecycle: {"stage": stage, "since": since}
            for lifecycle, (stage, since) in found.items()
            if lifecycle in self._lifecycles
        }

    def by_user(self, lifecycle: str) -> dict[str, str]:
        """Return the stage of everybody in a lifecycle. Raises UnknownLifecycle."""
        self._known(lifecycle)
        return {user: stage for user, (stage, _) in self._standing(lifecycle).items()}

    def describe(self, lifecycle: str, now: datetime) -> dict[str, Any]:
        """Return a lifecycle with its sizes, and for how long (days) its users have stood in each stage.

        Raises:
            UnknownLifecycle: there is no such lifecycle.
        """
        known = self._known(lifecycle)
        standing = self._standing(lifecycle)
        days: dict[str, list[float]] = {stage: [] for stage in known.stages}
        for stage, since in standing.values():
            days.setdefault(stage, []).append((now - since).total_seconds() / 86_400)
        return {
            **known.spec.model_dump(),
            "users": len(standing),
            "standing": {
                stage: {
                    "users": len(values),
                    "median_days": round(float(np.median(values)), 2) if values else None,
                    "p90_days": round(float(np.quantile(values, 0.9)), 2) if values else None,
                }
                for stage, values in days.items()
            },
        }

    def _standing(self, lifecycle: str) -> dict[str, tuple[str, datetime]]:
        """Where persons stand; a profile that was joined to another keeps its place for when they part."""
        with self._database.read() as connection:
            standing = repository.standing(connection, lifecycle)
        return {user: where for user, where in standing.items() if self._people.canonical(user) == user}

    def _known(self, lifecycle: str) -> Lifecycle:
        known = self._lifecycles.get(lifecycle)
        if known is None:
            there = ", ".join(self._lifecycles) or "none"
            raise UnknownLifecycle(f"there is no lifecycle {lifecycle!r}; there are {there}")
        return known


def _keep(
    connection: Connection,
    lifecycle: Lifecycle,
    made: Mapping[str, Sequence[Move]],
    standing: Mapping[str, tuple[str, datetime]],
    as_of: datetime,
) -> None:
    name, start = lifecycle.spec.id, lifecycle.spec.start
    facts: list[NewFact] = []
    after: dict[str, tuple[str, datetime]] = {}
    for user, of_user in made.items():
        first = user not in standing
        since = as_of if first else standing[user][1]
        if first:
            facts.append(_fact(user, StageChange(name, None, start, quiet=True), as_of))
        for move in of_user:
            change = StageChange(
                name,
                move.before,
                move.after,
                (as_of - since).total_seconds(),
                rule=str(lifecycle.rules[move.rule]),
                quiet=first,
            )
            facts.append(_fact(user, change, as_of))
            since = as_of
        after[user] = (of_user[-1].after if of_user else start, as_of)
    repository.keep(connection, name, after)
    ledger.append(connection, facts, as_of)


def _put(
    connection: Connection, lifecycle: str, user_id: str, stage: str, by: str, reason: str, now: datetime
) -> None:
    before = repository.standing_of(connection, user_id).get(lifecycle)
    if before is not None and before[0] == stage:
        raise StageError(f"user {user_id!r} is in the stage {stage!r} of {lifecycle!r} already")
    repository.keep(connection, lifecycle, {user_id: (stage, now)})
    change = StageChange(
        lifecycle,
        before[0] if before else None,
        stage,
        (now - before[1]).total_seconds() if before else None,
        by=by,
        reason=reason,
    )
    ledger.append(connection, [_fact(user_id, change, now)], now)


def _fact(user: str, change: StageChange, at: datetime) -> NewFact:
    return NewFact(Kind.STAGE, new_id(at), f"{change.lifecycle}.{change.after}", user, at, change)
