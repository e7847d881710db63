"""Kills services, many times, at every step of their protocols, and prints what that cost: `make chaos`.

Each campaign is one database with one service after another; at its end everything is settled and checked.
The order of faults, the requests and the moments come from `--seed`; what the threads of a process do in
between does not, so two runs of a seed are alike, not equal.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from storage.faultpoints import POINTS
from tests.faults.harness import Harness, Launcher
from tests.faults.planning import (
    AIMS,
    ANYWHERE,
    BACK,
    CRASH,
    CUT,
    DATABASES,
    DISK,
    FAULTS,
    FORTNIGHT,
    JOBS_PROCESS,
    LEARNER,
    POSTGRES,
    SQLITE,
    STARTING,
    VALKEY,
    plan,
)
from tests.faults.shopping import FULL, OVER
from tests.faults.stores import CounterServer, PostgresServer, Store
from tests.faults.tally import Tally, table

# How long an aimed service may live before it is killed where it happens to be.
_AIMED_SECONDS = 8.0
_LIVES_A_CAMPAIGN = 25
_BACK_SHARE = 0.2
# How often a server dies right after the process of its jobs, instead of starting another.
_TOGETHER_SHARE = 0.5


class Campaign:
    """Faults on one database, one after the other."""

    def __init__(
        self,
        launcher: Launcher,
        store: Store,
        data: Path,
        server: PostgresServer | None,
        seed: str,
        counters: CounterServer | None = None,
    ) -> None:
        self.tally = Tally()
        self.harness = Harness(launcher, store, data, seed=seed, counters=counters)
        self._server = server
        self._where = POSTGRES if store.is_postgres else SQLITE
        self._chance = random.Random(f"{seed}/campaign")

    def inflict(self, fault: str) -> bool:
        """Start a service if none lives, let clients work, and let a fault happen; False: it was missed."""
        if fault in POINTS:
            return self._aimed(fault)
        if fault == LEARNER:
            self._alive()
            return self._learner()
        if fault == STARTING:
            self.harness.kill()
            self.harness.start(doomed=self._chance.uniform(0.1, 2.0))
            return self._dies(STARTING)
        self._alive()
        {
            JOBS_PROCESS: self._jobs,
            DISK: self._disk,
            CUT: self._cut,
            CRASH: self._crash,
            VALKEY: self._valkey,
        }.get(fault, self._anywhere)()
        return True

    def end(self) -> Tally:
        """Settle, check and close."""
        journal, tally = self.harness.journal, self.tally
        self.harness.load.pause()
        self._alive()
        tally.findings += self.harness.settle()
        tally.findings += self.harness.close()
        tally.events, tally.decisions = len(journal.acknowledged), len(journal.answers)
        tally.acting = sum(answer["offer"] is not None for answer in journal.answers.values())
        tally.uses = sum(standing not in (FULL, OVER) for standing in journal.uses.values())
        tally.statuses = journal.statuses
        return tally

    def _alive(self) -> None:
        if self.harness.is_alive():
            return
        back = timedelta()
        if self._chance.random() < _BACK_SHARE:
            back = timedelta(minutes=self._chance.randint(1, 24 * 60))
            self.tally.outages[BACK, self._where] += 1
        if not self.harness.start(earlier=back):
            raise RuntimeError("a service died without a reason")

    def _aimed(self, point: str) -> bool:
        self.harness.kill()
        most, jobs = AIMS[point]
        ready = self.harness.start(f"{point}:{self._chance.randint(1, most)}")
        if ready:
            self.harness.load.resume(jobs)
            died = self.harness.wait_killed(_AIMED_SECONDS)
            if died is None:
                self.harness.kill()
                self._dies(ANYWHERE)
                return False
            if died == "jobs" and self._chance.random() < _TOGETHER_SHARE:
                self.harness.kill()
            elif died == "jobs":
                # Another one takes over, under load.
                time.sleep(0.5)
        return self._dies(point)

    def _dies(self, step: str) -> bool:
        self.harness.load.pause()
        self.tally.kills[step, self._where] += 1
        return True

    def _anywhere(self) -> None:
        self.harness.load.resume()
        time.sleep(self._chance.uniform(0.05, 1.5))
        self.harness.kill()
        self._dies(ANYWHERE)

    def _learner(self) -> bool:
        killed = False
        self.harness.load.resume(("reward", "learn", FORTNIGHT))
        until = time.monotonic() + _AIMED_SECONDS
        while not killed and time.monotonic() < until:
            time.sleep(self._chance.uniform(0.0, 0.05))
            killed = self.harness.kill_learner()
        self.tally.kills[LEARNER, self._where] += killed
        time.sleep(0.5)
        self.harness.load.pause()
        return killed

    def _jobs(self) -> None:
        self.harness.load.resume()
        time.sleep(self._chance.uniform(0.2, 1.0))
        if self.harness.kill_jobs():
            self.tally.kills[JOBS_PROCESS, self._where] += 1
        time.sleep(0.5)
        self.harness.load.pause()

    def _disk(self) -> None:
        self.harness.load.resume()
        time.sleep(self._chance.uniform(0.1, 0.5))
        with self.harness.full_disk():
            time.sleep(2.0)
        self.tally.outages[DISK, self._where] += 1
        time.sleep(0.5)
        self.harness.load.pause()

    def _cut(self) -> None:
        assert self._server is not None
        self.harness.load.resume()
        for _ in range(3):
            time.sleep(self._chance.uniform(0.1, 0.5))
            with self.harness.outage():
                self._server.cut(self.harness.store)
        self.tally.outages[CUT, self._where] += 1
        time.sleep(0.5)
        self.harness.load.pause()

    def _valkey(self) -> None:
        """Restart Valkey with an older state, or with none, or take all it has while it runs."""
        counters = self.harness.counters
        assert counters is not None
        self.harness.load.resume()
        time.sleep(self._chance.uniform(0.1, 0.8))
        loss = self._chance.choice(("older", "nothing", "emptied"))
        if loss == "older":
            counters.save()
            time.sleep(self._chance.uniform(0.1, 0.5))
        if loss == "emptied":
            counters.empty()
        else:
            counters.kill()
            time.sleep(self._chance.uniform(0.0, 1.0))
            counters.start()
        self.tally.outages[VALKEY, self._where] += 1
        time.sleep(1.5)
        self.harness.load.pause()

    def _crash(self) -> None:
        assert self._server is not None
        self.harness.load.resume()
        time.sleep(self._chance.uniform(0.1, 0.8))
        with self.harness.outage():
            self._server.crash()
            time.sleep(self._chance.uniform(0.0, 1.0))
            self._server.start()
        self.tally.outages[CRASH, self._where] += 1
        time.sleep(1.0)
        self.harness.load.pause()


def run(
    kills: int,
    seed: str,
    minutes: float,
    folder: Path,
    on: Sequence[str] = DATABASES,
    only: Sequence[str] = (),
) -> tuple[Tally, bool]:
    """Kill services `kills` times, as often on each kind of database; says whether time was enough.

    Args:
        on: the kinds of databases.
        only: the faults to choose from; empty: all.
    """
    total, clean = Tally(), False
    until = time.monotonic() + 60 * minutes
    launcher, server = Launcher(), PostgresServer(folder / "postgres")
    counters = CounterServer(folder / "valkey")
    waiting = {
        where: plan(
            kills // len(on), postgres=where == POSTGRES, chance=random.Random(f"{seed}/{where}"), only=only
        )
        for where in on
    }
    try:
        while any(waiting.values()) and time.monotonic() < until:
            where = max(waiting, key=lambda name: len(waiting[name]))
            data = folder / f"{where}-{len(waiting[where])}"
            data.mkdir()
            # Its keys are users, who are the same in each campaign.
            counters.start()
            counters.empty()
            store = server.create() if where == POSTGRES else Store(f"sqlite:///{data / 'nextplay.db'}")
            campaign = Campaign(
                launcher,
                store,
                data,
                server if where == POSTGRES else None,
                f"{seed}/{data.name}",
                counters if where == POSTGRES else None,
            )
            faults, waiting[where] = waiting[where][:_LIVES_A_CAMPAIGN], waiting[where][_LIVES_A_CAMPAIGN:]
            # What was missed, or what there was no time for, stays to be done.
            waiting[where] += [
                fault for fault in faults if time.monotonic() > until or not campaign.inflict(fault)
            ]
            tally = campaign.end()
            total.add(tally)
            _say(
                f"{data.name}: {tally.kills.total()} kills, {tally.events} events and {tally.decisions} "
                f"decisions acknowledged, {len(tally.findings)} findings"
            )
            if tally.findings:
                _say(f"{data.name}: its database is {store.url}")
            else:
                shutil.rmtree(data)
        clean = not total.findings
        return total, not any(waiting.values())
    finally:
        launcher.close()
        counters.close()
        server.close(keep=not clean)


def main() -> int:
    """Run from the command line; 0 if every promise was kept and every step was killed at often enough."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--seed", default="1")
    options.add_argument("--minutes", type=float, default=30.0, help="stop starting anew after this long")
    options.add_argument("--least", type=int, default=10, help="kills that every step must have had")
    options.add_argument("--on", nargs="+", choices=DATABASES, default=DATABASES, help="kinds of databases")
    options.add_argument(
        "--only",
        nargs="+",
        choices=FAULTS,
        default=(),
        metavar="FAULT",
        help=f"faults to choose from, where not all are wanted; no step must have its kills then:\n"
        f"{', '.join(FAULTS)}",
    )
    given = options.parse_args()
    for where in given.on:
        if not plan(1, postgres=where == POSTGRES, chance=random.Random(), only=given.only):
            options.error(f"{where} can have none of these faults: {', '.join(given.only)}")
    folder = Path(tempfile.mkdtemp(prefix="nextplay-chaos-"))
    tally, complete = run(given.kills, given.seed, given.minutes, folder, given.on, given.only)
    _say(table(tally))
    rare = [step for step in POINTS if tally.killed(step) < given.least and not given.only]
    if rare:
        _say(f"killed less than {given.least} times at: {', '.join(rare)}")
    if not complete:
        _say(f"stopped after {given.minutes:g} minutes; --minutes gives it more")
    if tally.findings:
        _say(f"what was found lies in {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 1 if rare else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
