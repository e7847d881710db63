"""A disk that is really full: a small file system of the test's own, which takes root to mount."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from decision.demo.run import LIBRARY
from decision.scheduling import INTERVALS
from tests import launching
from tests.faults.harness import Harness, Launcher
from tests.faults.stores import PostgresServer, Store

# A small write is tried every ten seconds while all is well, every second while it is not.
READY_SECONDS = 15.0


class SmallDisk:
    """A file system in memory that can be filled and cleared."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        handle = os.open(self._ballast, os.O_CREAT | os.O_WRONLY)
        with suppress(OSError):
            while True:
                os.write(handle, bytes(4096))
        os.close(handle)

    def clear(self) -> None:
        self._ballast.unlink(missing_ok=True)


@pytest.fixture(params=["48m"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    """A file system of the size that is asked for, mounted for the test."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={request.param}", "nextplay-test"]
    mounted = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield SmallDisk(folder)
    # Lazily: a killed process may be on its way out still.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def serve(data: Path) -> subprocess.CompletedProcess[str]:
    """Start a service that is expected to say why it can't."""
    return launching.run("serve", "--data", str(data), "--port", "0", "--library", str(LIBRARY))


def test_jobs_say_so_and_go_on_when_there_is_room(launcher: Launcher, disk: SmallDisk) -> None:
    data = disk.folder / "data"
    store = Store(f"sqlite:///{data / 'nextplay.db'}")
    harness = Harness(launcher, store, data, seed="disk")
    answers: dict[str, httpx2.Response] = {}
    harness.load.resume(("push",))
    with harness.connect() as http, harness.outage():
        assert readiness(http, 200)["parts"]["writer"] == "ok"
        disk.fill()
        not_ready = readiness(http, 503)
        harness.load.pause()
        for job in ("features", *sorted(INTERVALS.keys() - {"features"})):
            answers[job] = http.post(f"/v1/jobs/{job}")
        # Also where nobody asks for anything but this.
        assert http.get("/ready").json()["parts"] == not_ready["parts"]
        disk.clear()
        readiness(http, 200)
    assert not_ready["parts"]["database"] == "ok"
    assert "nothing was written" in not_ready["parts"]["writer"]
    assert "room" in not_ready["detail"]
    assert answers["features"].status_code == 503, answers["features"].text
    said = [f"{job}: {answer.status_code} {answer.text}" for job, answer in answers.items()]
    assert {answer.status_code for answer in answers.values()} <= {200, 503}, "\n".join(said)
    for answer in answers.values():
        if answer.status_code == 503:
            problem = answer.json()
            assert problem["type"].removeprefix("urn:nextplay:problem:") in {
                "feature-store-unavailable",
                "database-unavailable",
                "no-room",
            }
            assert "room" in problem["detail"] or "full" in problem["detail"], problem
            assert answer.headers["Retry-After"] == "1"
    assert not [path for path in (data / "features").rglob(".*") if path.is_file()]
    found = harness.settle() + harness.close()
    assert not found, found


@pytest.mark.parametrize("first", [True, False])
def test_a_service_that_can_not_start_says_so_in_a_line(
    first: bool, launcher: Launcher, disk: SmallDisk
) -> None:
    data = disk.folder / "data"
    store = Store(f"sqlite:///{data / 'nextplay.db'}")
    harness = None if first else Harness(launcher, store, data, seed="disk")
    if harness is not None:
        harness.kill()
    disk.fill()
    run = serve(data)
    assert run.returncode == 1
    assert run.stderr.startswith("nextplay: "), run.stderr
    assert run.stderr.count("\n") == 1, run.stderr
    assert "full" in run.stderr or "No space left" in run.stderr
    disk.clear()
    if harness is None:
        harness = Harness(launcher, store, data, seed="disk")
    else:
        assert harness.start()
    found = harness.settle() + harness.close()
    assert not found, found


@pytest.mark.parametrize("disk", ["320m"], indirect=True)
def test_a_full_disk_under_postgres_loses_nothing(
    launcher: Launcher, disk: SmallDisk, tmp_path: Path
) -> None:
    server = PostgresServer(disk.folder / "postgres")
    try:
        harness = Harness(launcher, server.create(), tmp_path / "data", seed="disk")
        harness.load.resume()
        time.sleep(1.0)
        before = len(harness.journal.acknowledged)
        with harness.outage():
            disk.fill()
            until = time.monotonic() + 30.0
            # Until the log needs a file more: then nothing is acknowledged any longer, or Postgres stops.
            while not refused(harness) and time.monotonic() < until:
                time.sleep(0.1)
            time.sleep(1.0)
            disk.clear()
            server.start()
        time.sleep(1.0)
        harness.load.pause()
        assert refused(harness), harness.journal.statuses
        found = harness.settle() + harness.close()
        assert not found, found
        assert len(harness.journal.acknowledged) > before
    finally:
        disk.clear()
        server.close()


def readiness(http: httpx2.Client, status: int) -> dict[str, Any]:
    """Ask until a service is ready (200) or is not (503); returns what it said."""
    until = time.monotonic() + READY_SECONDS
    while (answer := http.get("/ready")).status_code != status:
        assert time.monotonic() < until, answer.text
        time.sleep(0.1)
    said: dict[str, Any] = answer.json()
    return said


def refused(harness: Harness) -> bool:
    return any(said.endswith(" 503") and "/v1/jobs" not in said for said in harness.journal.statuses)
