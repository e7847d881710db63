"""Kills workers while many enrolments run through a long flow, and counts what reached the provider.

    python -m tests.faults.enrolments --enrolments 100000 --kills 100 --on sqlite postgres

Every effect is handed over at least once; a provider that honours keys accepts each once, for a repeat comes
with the same key and says the same; no enrolment is stuck. On Postgres two workers share the work.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle
from pathlib import Path

import msgspec
from sqlalchemy import Connection, func, select

from delivery.models import MessageState, Status
from delivery.tables import enrolments, outbox
from delivery.watchdog import late
from storage import ledger, projection
from storage.engine import Database
from storage.faultpoints import VARIABLE
from storage.ledger import Kind
from storage.schema import facts
from tests.faults.harness import Launcher
from tests.faults.invariants import Finding
from tests.faults.journey import BUYS, CALLED, HANDED_OVER, MOMENTS
from tests.faults.launcher import Request
from tests.faults.stores import PostgresServer, Store

ENTRY = "tests.faults.journey:main"
ANYWHERE = "anywhere"
# What is done at each moment, one after the other, the share of the moment's kills that it gets, and how
# often a worker passes each step for each enrolment, roughly.
_PHASES: Sequence[Sequence[tuple[float, Mapping[str, float]]]] = (
    ((1.0, {"writer.before_commit": 0.069, "writer.committed": 0.069, "executor.applied": 0.03}),),
    (
        (0.3, {"writer.before_commit": 0.055, "writer.committed": 0.055, "executor.applied": 0.055}),
        (0.5, {"relay.claimed": 0.046, "relay.accepted": 2.0, "relay.handed_over": 0.048}),
        (0.2, {"writer.before_commit": 0.05, "writer.committed": 0.05}),
    ),
    ((1.0, {"writer.before_commit": 0.078, "writer.committed": 0.078, "executor.applied": 0.062}),),
    ((1.0, {"writer.before_commit": 0.042, "writer.committed": 0.042, "executor.applied": 0.02}),),
)
# The share of a moment's kills among those that are left; what a moment has no time for goes to the next one.
_SHARES = (0.15, 0.6, 0.7, 1.0)
# Between two kills lies this much of what would spread them evenly: a moment has time for all of its own.
_LEAST_PART, _MOST_PART = 0.2, 1.0
# Seconds that a moment takes for each enrolment, roughly, before it is known how long workers live; and how
# many of their lives one may last that does not come to its step any more.
_SECONDS_EACH, _MOST_LIVES = 0.0005, 3.0
# How soon the end of a worker is noticed, and the most that one may take for a moment.
_LOOK, _LONGEST = 0.01, 3600.0


@dataclass
class _Worker:
    """A process that is to die at a step, or anywhere once `dies_at` (monotonic seconds) has come."""

    mode: str
    pid: int
    step: str | None = None
    dies_at: float = math.inf


class Result(msgspec.Struct):
    """What was done, and what came of it."""

    enrolments: int
    kills: int = 0
    kills_by_moment: list[int] = []
    kills_by_step: dict[str, int] = {}
    seconds: float = 0.0
    effects: int = 0
    hand_overs: int = 0
    findings: list[Finding] = []

    def told(self) -> str:
        """Return it as text."""
        head = (
            f"{self.enrolments:,} enrolments, {self.kills} kills ({self.kills_by_moment} by moment) in "
            f"{self.seconds:,.0f} s: {self.effects:,} effects, handed over {self.hand_overs:,} times, "
            f"{self.hand_overs - self.effects:,} repeats; {len(self.findings)} findings\n  killed "
            + ", ".join(f"at {step} {number}" for step, number in sorted(self.kills_by_step.items()))
        )
        return "\n".join([head, *(f"  {one.kind}: {one.what}" for one in self.findings[:20])])


class Run:
    """One database and the workers that run enrolments on it."""

    def __init__(self, launcher: Launcher, store: Store, folder: Path, number: int, seed: str) -> None:
        self._launcher, self._store, self._folder, self._number = launcher, store, folder, number
        self._chance = random.Random(seed)
        self.result = Result(number)
        folder.mkdir(parents=True, exist_ok=True)
        # The tables, before two workers make them at the same time.
        Database(store.url).close()

    def go(self, kills: int) -> Result:
        """Let all enrolments run to their end, killing workers so often."""
        began = time.monotonic()
        for moment, share in enumerate(_SHARES):
            killed = self._through(moment, round((kills - self.result.kills) * share))
            self.result.kills += killed
            self.result.kills_by_moment.append(killed)
        self.result.seconds = time.monotonic() - began
        with self._store.read() as connection:
            self.result.findings = list(self._check(connection))
        return self.result

    def _through(self, moment: int, kills: int) -> int:
        """Work until nothing is left to do at a moment; return how many workers were killed meanwhile."""
        began, killed = time.monotonic(), 0
        aims = self._aims(moment, kills)
        life = _SECONDS_EACH * self._number / max(1, kills)
        first = self._aimed(moment, "first", aims, life)
        workers = [first]
        if self._store.is_postgres:
            workers.append(self._aimed(moment, "beside", aims, life))
        while (status := self._over(first)) != 0:
            for one in workers:
                if status := self._over(one):
                    self._was_killed(one, status)
                    killed += 1
                    life = len(workers) * (time.monotonic() - began) / killed
                    again = self._aimed(moment, one.mode, aims, life)
                    one.pid, one.step, one.dies_at = again.pid, again.step, again.dies_at
            if time.monotonic() > began + _LONGEST:
                raise TimeoutError(f"a worker does not come to an end:\n{self._said()}")
        for one in workers[1:]:
            self._kill(one.pid)
            self._count(ANYWHERE)
            killed += 1
            self._ends(self._start(moment, "last", one.mode))
        self._ends(self._start(moment, "last"))
        return killed

    def _aims(self, moment: int, kills: int) -> Iterator[tuple[str, int]]:
        """Yield as many steps as workers are to be killed at, each with how often it is passed before."""
        left = kills
        for share, passes in _PHASES[moment]:
            mine = min(left, math.ceil(share * kills))
            left -= mine
            steps = [step for step, _ in zip(cycle([*passes, ANYWHERE]), range(mine), strict=False)]
            self._chance.shuffle(steps)
            for step in steps:
                part = self._chance.uniform(_LEAST_PART, _MOST_PART) / mine
                yield step, max(1, round(passes.get(step, 1.0) * self._number * part))

    def _aimed(self, moment: int, mode: str, aims: Iterator[tuple[str, int]], life: float) -> _Worker:
        """Start a worker that dies at the next of some aims, if there is one left."""
        aim = next(aims, None)
        if aim is None:
            return _Worker(mode, self._start(moment, mode))
        step, times = aim
        if step == ANYWHERE:
            pid = self._start(moment, mode)
            return _Worker(mode, pid, step, time.monotonic() + self._chance.uniform(0.0, 2 * life))
        pid = self._start(moment, mode, aim=f"{step}:{times}")
        return _Worker(mode, pid, step, time.monotonic() + _MOST_LIVES * life)

    def _over(self, worker: _Worker) -> int | None:
        """Return how a worker ended, None if it works on; it is killed if its time has come."""
        status = self._launcher.ended(worker.pid, _LOOK)
        if status is None and time.monotonic() > worker.dies_at:
            worker.step = ANYWHERE
            return -signal.SIGKILL if self._kill(worker.pid) else 0
        return status

    def _was_killed(self, worker: _Worker, status: int) -> None:
        """Note at which step a worker was killed."""
        if status != -signal.SIGKILL or worker.step is None:
            raise RuntimeError(f"a worker ended by itself ({status}):\n{self._said()}")
        self._count(worker.step)

    def _count(self, step: str) -> None:
        self.result.kills_by_step[step] = self.result.kills_by_step.get(step, 0) + 1

    def _start(self, moment: int, mode: str, holder: str = "", aim: str = "") -> int:
        """Start a worker and wait until it has opened the database."""
        holder = holder or ("beside" if mode == "beside" else "first")
        given = [self._store.url, str(self._folder), holder, str(moment), str(self._number), mode]
        request = Request(given, str(self._log), environment={VARIABLE: aim}, entry=ENTRY)
        pid = self._launcher.start(request)
        ready, until = self._folder / f"ready-{pid}", time.monotonic() + _LONGEST
        while not ready.exists() and self._launcher.ended(pid) is None:
            if time.monotonic() > until:
                raise TimeoutError(f"a worker does not begin:\n{self._said()}")
            time.sleep(0.002)
        ready.unlink(missing_ok=True)
        return pid

    def _kill(self, pid: int) -> bool:
        """Kill a worker; False if it came to its end just before."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        status = self._launcher.ended(pid, _LONGEST)
        if status not in (-signal.SIGKILL, 0):
            raise RuntimeError(f"a worker ended with {status}:\n{self._said()}")
        return status != 0

    def _ends(self, pid: int, expected: int = 0) -> None:
        status = self._launcher.ended(pid, _LONGEST)
        if status != expected:
            raise RuntimeError(f"a worker ended with {status}:\n{self._said()}")

    @property
    def _log(self) -> Path:
        return self._folder / "workers.log"

    def _said(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])

    def _check(self, connection: Connection) -> Iterator[Finding]:
        accepted = self._accepted()
        yield from accepted
        rows = connection.execute(select(outbox.c.key, outbox.c.state)).all()
        self.result.effects = len(rows)
        keys = {row.key for row in rows}
        yield from (Finding("lost", f"{key} was never handed over") for key in keys - self._taken.keys())
        yield from (Finding("wrong", f"{key} is nobody's message") for key in self._taken.keys() - keys)
        for key, state in rows:
            if state != MessageState.DELIVERED:
                yield Finding("wrong", f"the message {key} is {state}")
        query = select(enrolments.c.status, func.count()).group_by(enrolments.c.status)
        standing = {row[0]: row[1] for row in connection.execute(query)}
        if standing != {Status.ENDED.value: self._number}:
            yield Finding("wrong", f"enrolments are {standing}")
        yield from (
            Finding("wrong", f"late: {one}") for one in late(connection, MOMENTS[-1] + timedelta(days=1), 20)
        )
        yield from self._counted(connection)
        yield from (Finding("wrong", f"a counter: {one}") for one in projection.recount(connection))

    def _accepted(self) -> list[Finding]:
        """Play the provider: it accepts a key once, and refuses a repeat that says something else."""
        self._taken: Counter[str] = Counter()
        said: dict[str, str] = {}
        found = []
        for line in (self._folder / HANDED_OVER).read_text(encoding="utf-8").splitlines():
            key, _, digest = line.partition("\t")
            self._taken[key] += 1
            if said.setdefault(key, digest) != digest:
                found.append(Finding("doubled", f"{key} came again and said something else"))
        self.result.hand_overs = self._taken.total()
        return found

    def _counted(self, connection: Connection) -> Iterator[Finding]:
        """Every step left its facts once."""
        number = self._number
        called = len(range(0, number, CALLED))
        used = sum(not (place % CALLED and place % BUYS) for place in range(number))
        expected = {
            Kind.ENROLMENT: {"started": number, "ended": number},
            Kind.DECISION: {"outbound": number},
            Kind.COUPON: {"issued": number, "used": used, "expired": number - used},
            Kind.MESSAGE: {"queued": 2 * number, "sent": 2 * number, "delivered": 2 * number},
            Kind.TASK: {"opened": number, "done": called, "left": number - called},
        }
        counted = ledger.counts(connection)
        for kind, labels in expected.items():
            if counted[kind] != {label: n for label, n in labels.items() if n}:
                yield Finding("wrong", f"facts of {kind.value}: {counted[kind]}, expected {labels}")
        doubled = select(facts.c.kind, facts.c.id).group_by(facts.c.kind, facts.c.id)
        for kind, one in connection.execute(doubled.having(func.count() > 1)):
            yield Finding("doubled", f"the fact {one} of {kind}")


def main() -> int:
    """Run from the command line; 0 if nothing was found and every kill was done."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--enrolments", type=int, default=100_000)
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--seed", default="1")
    options.add_argument("--on", nargs="+", choices=["sqlite", "postgres"], default=["sqlite", "postgres"])
    given = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="nextplay-enrolments-"))
    launcher = Launcher()
    complete = True
    try:
        for where in given.on:
            server = PostgresServer(folder / "postgres") if where == "postgres" else None
            url = f"sqlite:///{folder / 'nextplay.db'}"
            store = Store(url) if server is None else server.create()
            try:
                run = Run(launcher, store, folder / where, given.enrolments, f"{given.seed}/{where}")
                result = run.go(given.kills)
            finally:
                if server is not None:
                    server.close()
            sys.stdout.write(f"{where}: {result.told()}\n")
            sys.stdout.flush()
            complete = complete and not result.findings and result.kills >= given.kills
    finally:
        launcher.close()
    if complete:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
