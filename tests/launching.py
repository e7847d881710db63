"""Services of tests, forked from a process that has imported what they need (`tests.faults.launcher`).

They run the command line as it is, in a process of their own; what is saved are the seconds of imports.
Starting a service from nothing is what `tests/integration/test_decision_processes.py` tests.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from decision.demo import client
from decision.demo.client import ServiceClient
from tests.faults.harness import Launcher
from tests.faults.launcher import Request
from tests.migrated import copy_migrated


@cache
def launcher() -> Launcher:
    """Return the launcher of this process of tests, started when it is first asked for."""
    started = Launcher()
    atexit.register(started.close)
    return started


class Forked:
    """A process of the launcher, as `subprocess.Popen` would show it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        return launcher().ended(self.pid)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        seconds = 60.0 if timeout is None else timeout
        status = launcher().ended(self.pid, seconds)
        if status is None:
            raise subprocess.TimeoutExpired(["nextplay"], seconds)
        return status

    def _signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def fork(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path, folder: str | None = None
) -> Forked:
    """Start `nextplay` with these arguments, as `decision.demo.client.start_process` does."""
    log.write_bytes(b"")
    started = Request(list(arguments), str(log), environment=dict(environment), folder=folder)
    return Forked(launcher().start(started))


def run(*arguments: str, folder: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself, and return what it said."""
    with TemporaryDirectory() as made:
        said, errors = Path(made) / "said", Path(made) / "errors"
        named = {**os.environ, **environment}
        process = Forked(launcher().start(Request(list(arguments), str(said), str(errors), named, folder)))
        status = process.wait()
        return subprocess.CompletedProcess(
            ["nextplay", *arguments], status, said.read_text(), errors.read_text()
        )


@contextmanager
def running_service(data: Path, *, clock: datetime | None, seed: str, log: Path) -> Iterator[ServiceClient]:
    """Run a service for as long as the block lasts (`decision.demo.client.running_service`).

    A new one finds its tables there.
    """
    if not (data / "nextplay.db").exists():
        copy_migrated(data / "nextplay.db")
    with client.running_service(data, clock=clock, seed=seed, log=log, start=fork) as running:
        yield running
