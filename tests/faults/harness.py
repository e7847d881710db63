"""Starts services, lets clients work on them, takes the services away, and checks what is left."""

from __future__ import annotations

import json
import os
import queue
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import httpx2
import msgspec
import psutil
from sqlalchemy import make_url

from decision.auth.models import mint
from decision.demo.run import LIBRARY
from storage.faultpoints import VARIABLE
from tests.faults.alterations import SYNCS
from tests.faults.family import children_of, kill_running
from tests.faults.invariants import Finding, Interruption, check, recounted
from tests.faults.journal import Journal
from tests.faults.launcher import Request
from tests.faults.load import START, USERS, Ask, Batch, Load, message
from tests.faults.stores import CounterServer, Store
from tests.migrated import copy_migrated

_START_SECONDS = 180.0
# Many times what anything takes: a slow machine that does other work besides is no finding.
_REQUEST_SECONDS = 120.0
# So short that a job's turn is free again soon after the death of the process that had it.
_LEASE_SECONDS = "0.5"
# Marks all processes of a run, also those that a killed one leaves behind.
_MARK = "FAULTS_RUN"
# After this much time every window, coupon, reservation and lease is over.
_AFTER_ALL = timedelta(days=15)


class Launcher:
    """The process that forks services (see `tests.faults.launcher`)."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.launcher"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env=environment,
        )
        self._started: queue.Queue[int] = queue.Queue()
        self._ended: dict[int, int] = {}
        self._news = threading.Condition()
        assert self._process.stdout is not None
        if "ready" not in json.loads(self._process.stdout.readline()):
            raise RuntimeError("the launcher did not start")
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def start(self, request: Request) -> int:
        """Start a process and return its id."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(request) + b"\n")
        self._process.stdin.flush()
        return self._started.get(timeout=_START_SECONDS)

    def ended(self, pid: int, seconds: float = 0.0) -> int | None:
        """Return how a process ended (as `os.waitstatus_to_exitcode`), None if it runs on for `seconds`."""
        with self._news:
            self._news.wait_for(lambda: pid in self._ended, seconds)
            return self._ended.get(pid)

    def close(self) -> None:
        """Kill what still runs."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._listener.join()
        self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said: dict[str, Any] = json.loads(line)
            if "started" in said:
                self._started.put(said["started"])
            elif "ended" in said:
                with self._news:
                    self._ended[said["ended"]] = said["status"]
                    self._news.notify_all()


class Harness:
    """One database with one service at a time, its clients and their journal."""

    def __init__(
        self,
        launcher: Launcher,
        store: Store,
        data: Path,
        *,
        seed: str,
        alterations: Sequence[str] = (),
        counters: CounterServer | None = None,
    ) -> None:
        """Prepare `data` and the database, and start a first service with users who have features."""
        self.store = store
        self.counters = counters
        self.data = data
        self.journal = Journal()
        self.pid = 0
        self._jobs_pid = 0
        self._jobs_seen = 0
        self.interruptions: list[Interruption] = []
        self._set_back = timedelta()
        self._launcher = launcher
        self._alterations = list(alterations)
        self._port = _free_port()
        self._key = str(mint())
        self._chance = random.Random(f"{seed}/harness")
        data.mkdir(parents=True, exist_ok=True)
        shutil.copytree(LIBRARY, data / "library")
        self.load = Load(self.journal, self.connect, seed)
        if store.is_postgres:
            self._finish(self._launch(["migrate", "--data", str(data)], None))
        elif not (file := Path(str(make_url(store.url).database))).exists():
            copy_migrated(file)
        self.start()
        self._first_orders()

    def connect(self, port: int | None = None) -> httpx2.Client:
        """Return a client of the service, whichever process it is at the time."""
        return httpx2.Client(
            base_url=f"http://127.0.0.1:{port or self._port}",
            timeout=_REQUEST_SECONDS,
            headers={"Authorization": f"Bearer {self._key}"},
        )

    def start(
        self, aim: str | None = None, *, earlier: timedelta = timedelta(), doomed: float | None = None
    ) -> bool:
        """Start a service and wait until it is ready; False if it died before.

        Args:
            aim: the fault point it is to die at.
            earlier: how far its clock was set back.
            doomed: seconds after which it is killed, ready or not.
        """
        self.load.now -= earlier
        self._set_back += earlier
        self.pid = self._launch(self._arguments(self._port), aim)
        launched = time.monotonic()
        with self.connect() as http:
            while self.is_alive():
                if doomed is not None and time.monotonic() > launched + doomed:
                    self.kill()
                    return False
                if time.monotonic() > launched + _START_SECONDS:
                    raise TimeoutError(f"a service did not become ready:\n{self.end_of_log()}")
                if _is_ready(http):
                    self._look_for_jobs()
                    return True
                time.sleep(0.02)
        self.wait_dead(0.0)
        return False

    @contextmanager
    def beside(self) -> Iterator[httpx2.Client]:
        """Run a second service over the same database (Postgres) and folder, on the same clock."""
        port = _free_port()
        pid = self._launch(self._arguments(port), None)
        with self.connect(port) as http:
            until = time.monotonic() + _START_SECONDS
            while not _is_ready(http):
                if time.monotonic() > until or self._launcher.ended(pid) is not None:
                    raise TimeoutError(f"a second service did not become ready:\n{self.end_of_log()}")
                time.sleep(0.02)
            yield http
        os.kill(pid, signal.SIGKILL)
        self._launcher.ended(pid, _START_SECONDS)

    def is_alive(self) -> bool:
        """Whether the service runs; notes its death."""
        return self._launcher.ended(self.pid) is None

    def wait_dead(self, seconds: float) -> bool:
        """Wait for the service to die; says whether it did, and notes when."""
        status = self._launcher.ended(self.pid, seconds)
        if status is None:
            return False
        now = time.monotonic_ns()
        self.interruptions.append(Interruption(self.pid, now, now))
        self._jobs_ended()
        if status != -signal.SIGKILL:
            raise RuntimeError(f"a service ended by itself ({status}):\n{self.end_of_log()}")
        return True

    def kill(self) -> None:
        """Kill the service if it lives still."""
        if self.is_alive():
            # One that took over since they were looked for dies with its server, and is to be known as dead.
            self._look_for_jobs()
            # At the step at which it was to die it may have died meanwhile; how it did is seen to below.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.wait_dead(_START_SECONDS)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Note that whatever was under way in the block may have been interrupted."""
        start = time.monotonic_ns()
        try:
            yield
        finally:
            self.interruptions.append(Interruption(None, start, time.monotonic_ns()))

    @contextmanager
    def full_disk(self, room: int = 256 * 1024) -> Iterator[None]:
        """Let no file grow beyond the service's log and `room` bytes, as if the disk were full.

        Needs no rights.
        """
        # Its log may go on: a service that can't say what is wrong is another matter.
        most = (self.data / "service.log").stat().st_size + room
        hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)[1]
        with self.outage():
            self._limit_files(most, hard)
            try:
                yield
            finally:
                self._limit_files(resource.RLIM_INFINITY, hard)

    def _limit_files(self, most: int, hard: int) -> None:
        """Limit the files of all processes of the service, from the one that forks on."""
        for process in (server := psutil.Process(self.pid), *server.children(recursive=True)):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, hard))

    def lose_power(self) -> int:
        """Kill the service and take away the parts of the history never forced to disk, as a power cut may.

        Returns how many there were. What a cut does to a SQLite file is tried by `tests.faults.power`.
        """
        self.kill()
        noted = (self.data / SYNCS).read_text(encoding="utf-8").splitlines()
        # A part is forced under the name it has while it is written: `.<name>.<process>`.
        synced = {Path(line).name.removeprefix(".").rpartition(".")[0] for line in noted}
        lost = [
            part
            for part in (self.data / "features" / "history").rglob("*.parquet")
            if part.name not in synced
        ]
        for part in lost:
            part.unlink()
        return len(lost)

    def wait_killed(self, seconds: float) -> Literal["service", "jobs"] | None:
        """Wait until the service or the process of its jobs has died; says which, None if both live on."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.wait_dead(0.0):
                return "service"
            before = self._jobs_pid
            if self._look_for_jobs() != before and before:
                # A server that dies takes its jobs along.
                return "service" if self.wait_dead(0.2) else "jobs"
            time.sleep(0.01)
        return None

    def kill_jobs(self) -> bool:
        """Kill the process of the jobs; False if there is none at the moment."""
        pid = self._look_for_jobs()
        if not pid:
            return False
        os.kill(pid, signal.SIGKILL)
        self._jobs_ended()
        return True

    def kill_learner(self) -> bool:
        """Kill the learner's process; False if there is none at the moment."""
        return kill_running("learning.vw_worker", below=self.pid)

    def _look_for_jobs(self) -> int:
        """Return the id of the process of the jobs, 0 if there is none, and note the end of the last."""
        found = 0
        for nursery in children_of(self.pid):
            found = max(children_of(nursery), default=0)
        if found != self._jobs_pid:
            self._jobs_ended()
        self._jobs_pid, self._jobs_seen = found, time.monotonic_ns()
        return found

    def _jobs_ended(self) -> None:
        """Note that the process of the jobs died since it was last seen."""
        if self._jobs_pid:
            self.interruptions.append(Interruption(self._jobs_pid, self._jobs_seen, time.monotonic_ns()))
        self._jobs_pid = 0

    def run(self, *jobs: str, moved: timedelta = timedelta()) -> dict[str, Any]:
        """Run jobs, after the clock has moved, and return the last report."""
        report: dict[str, Any] = {}
        with self.connect() as http:
            if moved:
                self.load.now += moved
                http.put("/v1/clock", json={"now": self.load.now.isoformat()}).raise_for_status()
            for job in jobs:
                until = time.monotonic() + _REQUEST_SECONDS
                while (response := http.post(f"/v1/jobs/{job}")).status_code in (409, 503):
                    if time.monotonic() > until:
                        break
                    time.sleep(0.1)
                if response.status_code != httpx2.codes.OK:
                    raise RuntimeError(f"the job {job} was answered {response.text}\n{self.end_of_log()}")
                report = response.json()
        return report

    def ask(self, number: int, name: str = "asked") -> None:
        """Ask for decisions about one user after the other, under keys that begin with `name`."""
        with self.connect() as http:
            for place in range(number):
                asked = Ask(self.journal, f"{name}-{place}", USERS[place % len(USERS)])
                asked.answered(asked.send(http).raise_for_status().json())

    def settle(self) -> list[Finding]:
        """Have everything answered and done that is due, then check; the service must be alive."""
        self.load.finish()
        # What was begun before the clock was set back is due when it shows that time again.
        self.run("features", "audiences", "deliver", moved=self._set_back)
        # Twice: what the first round sends, the second brings to its end.
        for _ in range(2):
            self.run("push", "features", "deliver", "reward", "learn", moved=_AFTER_ALL)
        with self.store.read() as connection:
            found = check(connection, self.journal, self.data, self.interruptions)
        if self.counters is not None:
            found += recounted(self.store, self.counters, self.load.now)
        if damage := self.store.damage():
            found.append(Finding("wrong", f"the database file is damaged: {damage}"))
        return found + self._replayed(20)

    def close(self) -> list[Finding]:
        """Kill the service; finds processes that outlive it."""
        self.kill()
        until = time.monotonic() + 5.0
        while left := self._left_behind():
            if time.monotonic() > until:
                for process in left:
                    process.kill()
                return [Finding("wrong", f"{process} outlives its service") for process in left]
            time.sleep(0.1)
        return []

    def end_of_log(self, lines: int = 30) -> str:
        """Return the last lines that services wrote."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    @property
    def _log(self) -> Path:
        return self.data / "service.log"

    def _arguments(self, port: int) -> list[str]:
        arguments = ["serve", "--data", str(self.data), "--port", str(port), "--no-schedule"]
        arguments += ["--clock", self.load.now.isoformat(timespec="seconds"), "--seed", "faults"]
        return [*arguments, "--lease", _LEASE_SECONDS] if self.store.is_postgres else arguments

    def _launch(self, arguments: list[str], aim: str | None) -> int:
        environment = {VARIABLE: aim or "", _MARK: str(self.data), "NEXTPLAY_ADMIN_KEY": self._key}
        if self.store.is_postgres:
            environment["NEXTPLAY_DATABASE_URL"] = self.store.url
        if self.counters is not None:
            environment["NEXTPLAY_COUNTERS_URL"] = self.counters.url
        request = Request(
            arguments,
            str(self._log),
            environment=environment,
            notes=str(self.data),
            alterations=self._alterations,
        )
        return self._launcher.start(request)

    def _finish(self, pid: int) -> None:
        if self._launcher.ended(pid, _START_SECONDS) != 0:
            raise RuntimeError(f"a command failed:\n{self.end_of_log()}")

    def _first_orders(self) -> None:
        """Give every user an order, so that decisions about them have features."""
        chance = self._chance
        orders = [
            message(f"first-{user}", user, "order_completed", START - timedelta(days=1), chance)
            for user in USERS
        ]
        batch = Batch(self.journal, orders)
        with self.connect() as http:
            batch.answered(batch.send(http).raise_for_status().json())
        self.run("features", "audiences")

    def _replayed(self, number: int) -> list[Finding]:
        """Replay a sample of the decisions."""
        ids = sorted(answer["decision_id"] for answer in self.journal.answers.values())
        found = []
        with self.connect() as http:
            for decision_id in self._chance.sample(ids, min(number, len(ids))):
                response = http.post(f"/v1/decisions/{decision_id}/replay")
                if response.status_code != httpx2.codes.OK or not response.json()["identical"]:
                    found.append(Finding("wrong", f"replay of decision {decision_id}: {response.text}"))
        return found

    def _left_behind(self) -> list[psutil.Process]:
        left = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(_MARK) == str(self.data):
                    left.append(process)
            except psutil.Error:
                continue
        return left


def _is_ready(http: httpx2.Client) -> bool:
    try:
        return http.get("/ready").status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
