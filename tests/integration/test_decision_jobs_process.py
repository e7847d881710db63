"""The process of the jobs beside a server on SQLite: killed, asked, measured, stopped with it."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx2
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from decision.demo.run import LIBRARY
from tests.acceptance.driver import Running
from tests.integration.test_decision_processes import START, Started, free_port, start, track, until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    data = tmp_path_factory.mktemp("jobs") / "data"
    shutil.copytree(LIBRARY, data / "library")
    one = start(data, "server", "serve", "--clock", START.isoformat(), "--no-schedule", port=free_port())
    try:
        until(one.is_ready, 60)
        yield one
    finally:
        one.end()


def jobs_of(one: Started) -> psutil.Process:
    (nursery,) = psutil.Process(one.process.pid).children()
    (jobs,) = nursery.children()
    return jobs


def metrics(one: Started) -> dict[tuple[str, str], float]:
    """Return samples by name and by the value of their only label, if they have one."""
    text = one.http.get("/metrics").raise_for_status().text
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in families
        for sample in family.samples
        if len(sample.labels) <= 1
    }


def test_the_jobs_are_nicer_and_answer_as_if_they_were_here(server: Started) -> None:
    own, requests = psutil.Process().nice(), psutil.Process(server.process.pid).nice()
    assert (requests, jobs_of(server).nice()) == (own + 2, own + 5)
    service = Running(server.http, server.log.parent / "data", START)
    service.order("ann", "COFFEE", days_ago=3)
    report = server.http.post("/v1/jobs/features").raise_for_status().json()
    assert report["as_of"] == START.isoformat().replace("+00:00", "Z")
    sizes = server.http.post("/v1/jobs/audiences").raise_for_status().json()["sizes"]
    # What a job published is served once it is answered, also when it runs twice at one moment.
    assert sum(sizes.values()) == len(server.http.get("/v1/users/ann").json()["audiences"])
    unknown = server.http.post("/v1/jobs/dance")
    assert (unknown.status_code, unknown.json()["type"]) == (404, "urn:nextplay:problem:unknown-job")
    assert "there is no job 'dance'; the jobs are push" in unknown.json()["detail"]
    service.move(timedelta(days=1))
    later = server.http.post("/v1/jobs/features").raise_for_status().json()
    assert later["as_of"] == (START + timedelta(days=1)).isoformat().replace("+00:00", "Z")


def test_what_the_jobs_count_is_shown_by_the_server(server: Started) -> None:
    before = metrics(server)
    service = Running(server.http, server.log.parent / "data", START)
    service.acting_decision("ann")
    server.http.post("/v1/jobs/deliver").raise_for_status()
    after = metrics(server)
    assert after["nextplay_jobs_alive", ""] == 1
    assert (
        after["nextplay_job_seconds_count", "deliver"]
        == before.get(("nextplay_job_seconds_count", "deliver"), 0) + 1
    )
    assert after["nextplay_messages_total", "delivered"] == before["nextplay_messages_total", "delivered"] + 1
    assert after["nextplay_job_seconds_since_success", "deliver"] >= 0
    assert ("nextplay_learner_alive", "") in after
    # A turn that was lent counts among the turns of the one writer.
    assert after["nextplay_writer_turn_seconds_count", ""] > before["nextplay_writer_turn_seconds_count", ""]


def test_killed_jobs_are_said_replaced_and_keep_nobody_waiting(server: Started) -> None:
    restarts = metrics(server)["nextplay_jobs_restarts_total", ""]
    stop, slowest, answers = threading.Event(), [0.0], list[int]()

    def ask() -> None:
        with httpx2.Client(base_url=server.http.base_url, headers=server.http.headers, timeout=30) as http:
            while not stop.is_set():
                started = time.monotonic()
                answers.append(http.post("/v1/track", json=track("busy", str(uuid4()))).status_code)
                slowest[0] = max(slowest[0], time.monotonic() - started)

    asking = threading.Thread(target=ask)
    asking.start()
    refusals: list[httpx2.Response] = []
    try:
        for _ in range(3):
            running = threading.Thread(
                target=lambda: refusals.append(server.http.post("/v1/jobs/features")), daemon=True
            )
            running.start()
            time.sleep(0.05)
            jobs_of(server).kill()
            running.join(60)
            until(lambda: server.http.post("/v1/jobs/deliver").status_code == 200, 30)
    finally:
        stop.set()
        asking.join()
    assert set(answers) == {200}
    assert slowest[0] < 5
    for refused in refusals:
        if refused.status_code != 200:
            assert refused.status_code == 503, refused.text
            assert refused.json()["type"] == "urn:nextplay:problem:jobs-lost"
            assert refused.headers["retry-after"]
    assert metrics(server)["nextplay_jobs_restarts_total", ""] == restarts + 3
    # The one that took over lives in the service's time.
    later = server.http.post("/v1/jobs/features").raise_for_status().json()["as_of"]
    assert later == server.http.get("/v1/clock").json()["now"]


def test_jobs_end_with_their_server(server: Started) -> None:
    jobs = jobs_of(server)
    assert server.stop() == 0, server.log.read_text()
    # It has ended, though whoever inherits it may not have looked yet.
    _, alive = psutil.wait_procs([jobs], timeout=60)
    assert not alive
    assert "Traceback" not in server.log.read_text()


def test_jobs_do_not_outlive_a_killed_server(tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(LIBRARY, data / "library")
    one = start(data, "killed", "serve", port=free_port())
    try:
        until(one.is_ready, 60)
        below = one.children()
        assert below
        os.kill(one.process.pid, signal.SIGKILL)
        one.process.wait()
        _, alive = psutil.wait_procs(below, timeout=60)
        assert not alive
    finally:
        one.end()
