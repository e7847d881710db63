"""Which faults there are, and which of them a kind of database is to have, in which order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta

from tests.faults.load import JOBS

FORTNIGHT = timedelta(days=15)
# For each point: the most passages before the kill, and the jobs that lead there. Where it is not needed,
# `deliver` is not among them: it goes on for as long as clients bring it something to do.
AIMS: dict[str, tuple[int, Sequence[str | timedelta]]] = {
    "writer.before_commit": (60, JOBS),
    "writer.committed": (60, JOBS),
    "executor.applied": (3, ("deliver",)),
    "relay.claimed": (4, ("deliver",)),
    "relay.accepted": (6, ("deliver",)),
    "relay.handed_over": (3, ("deliver",)),
    "checkout.taken": (12, ("push",)),
    "feed.before_cursor": (4, ("push", "features")),
    "audiences.staged": (1, ("features", "audiences")),
    "audiences.live": (1, ("features", "audiences")),
    "reward.recorded": (2, ("reward", timedelta(days=5))),
    "learn.folded": (1, ("reward", "learn", FORTNIGHT)),
    "learn.published": (1, ("reward", "learn", FORTNIGHT)),
}
SQLITE, POSTGRES = "SQLite", "Postgres"
DATABASES = (SQLITE, POSTGRES)
ANYWHERE, STARTING = "anywhere", "while starting"
LEARNER, JOBS_PROCESS = "the learner's process", "the jobs' process"
DISK, CUT, CRASH, BACK = "disk full", "connections cut", "Postgres crashed", "clock set back"
VALKEY = "Valkey killed or emptied"
FAULTS = (*AIMS, ANYWHERE, STARTING, LEARNER, JOBS_PROCESS, DISK, CUT, CRASH, VALKEY)


def plan(kills: int, *, postgres: bool, chance: random.Random, only: Sequence[str] = ()) -> list[str]:
    """Return the faults of one kind of database: `kills` of processes, and outages beside them.

    Args:
        only: choose so many from those of these that it can have, instead.
    """
    if only:
        possible = [one for one in only if one not in ((DISK,) if postgres else (CUT, CRASH, VALKEY))]
        return [chance.choice(possible) for _ in range(kills if possible else 0)]
    each = max(1, round(kills * 0.05))
    faults = [point for point in AIMS for _ in range(each)]
    faults += [STARTING] * each + [LEARNER] * each + [JOBS_PROCESS] * (2 * each)
    faults += [ANYWHERE] * max(1, kills - len(faults))
    outages = (CUT, CRASH, VALKEY) if postgres else (DISK,)
    faults += [one for one in outages for _ in range(max(1, kills // 20))]
    chance.shuffle(faults)
    return faults
