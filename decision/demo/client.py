"""The demo as a client of the service: everything it does, it asks for over HTTP."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import httpx2
import msgspec

from decision.kept_key import kept_key
from storage.errors import NextplayError

# Both keep a batch well below the 500 KB that one request may have.
EVENTS_PER_BATCH = 200
BYTES_PER_BATCH = 400_000
# Requests under way at once: enough to fill the writer's group commits, few enough to stay on one core.
CONNECTIONS = 16
_START_SECONDS = 90
_STOP_SECONDS = 30
_REQUEST_SECONDS = 120
# A job does what there is to do, on a slow machine for many minutes; one that died closes the connection.
_JOB_SECONDS = 3_600

Message = dict[str, Any]


class DemoError(NextplayError):
    """The service did not do what the demo asked of it."""

    code = "demo"


class ServiceProcess(Protocol):
    """A process that serves: as much of `subprocess.Popen` as is asked of one."""

    def poll(self) -> int | None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    def wait(self, timeout: float | None = None) -> int: ...


class ServiceClient:
    """Speaks to one running service. Not for use by several threads at once, except `decide_all`."""

    def __init__(self, base_url: str, key: str) -> None:
        self.key = key
        self.http = httpx2.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=_REQUEST_SECONDS,
            limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        )
        self._pool = ThreadPoolExecutor(CONNECTIONS)

    def close(self) -> None:
        self._pool.shutdown()
        self.http.close()

    def is_ready(self) -> bool:
        """Say whether the service answers and can decide."""
        try:
            return self.http.get("/ready").status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False

    def get(self, path: str) -> Any:
        """Return the JSON answer to a GET."""
        return self._ask("GET", path)

    def move_clock(self, moment: datetime) -> None:
        """Move the service's clock."""
        self._ask("PUT", "/v1/clock", json={"now": moment.isoformat()})

    def run(self, job: str) -> dict[str, Any]:
        """Run a job of the loop and return its report."""
        report: dict[str, Any] = self._ask("POST", f"/v1/jobs/{job}", timeout=_JOB_SECONDS)
        return report

    def ingest(self, messages: Iterable[Message], progress: Callable[[int], None]) -> None:
        """Send messages in batches, one after the other so that they are recorded in their order."""
        for batch, body in batches(messages):
            answer = self._ask("POST", "/v1/batch", content=body)
            if answer["refused"] or answer["accepted"] != batch:
                raise DemoError(f"the service did not take all of a batch: {answer}")
            progress(batch)

    def decide_all(
        self, requests: Sequence[tuple[str, str, str]], progress: Callable[[int], None]
    ) -> list[Message]:
        """Ask for decisions (user_id, placement, idempotency key) and return the answers in that order."""

        def ask(request: tuple[str, str, str]) -> Message:
            user_id, placement, key = request
            answer: Message = self._ask(
                "POST",
                "/v1/decide",
                content=msgspec.json.encode({"user_id": user_id, "placement": placement}),
                headers={"Idempotency-Key": key},
            )
            progress(1)
            return answer

        return list(self._pool.map(ask, requests))

    def _ask(self, method: str, path: str, **given: Any) -> Any:
        try:
            response = self.http.request(method, path, **given)
        except httpx2.TransportError as error:
            raise DemoError(f"{method} {path} got no answer from the service: {error}") from error
        if response.status_code != httpx2.codes.OK:
            raise DemoError(f"{method} {path} answered {response.text}")
        return msgspec.json.decode(response.content)


def batches(messages: Iterable[Message]) -> Iterator[tuple[int, bytes]]:
    """Yield (number of messages, body) of `/v1/batch` requests within the limits of size."""
    waiting: list[bytes] = []
    size = 0
    encoded = map(msgspec.json.encode, messages)
    for message in encoded:
        if waiting and (size + len(message) > BYTES_PER_BATCH or len(waiting) == EVENTS_PER_BATCH):
            yield len(waiting), b'{"batch":[' + b",".join(waiting) + b"]}"
            waiting, size = [], 0
        waiting.append(message)
        size += len(message) + 1
    if waiting:
        yield len(waiting), b'{"batch":[' + b",".join(waiting) + b"]}"


def start_process(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> ServiceProcess:
    """Start `nextplay` with these arguments; what it says goes to `log`."""
    command = [sys.executable, "-m", "decision", *arguments]
    with log.open("wb") as output:
        return subprocess.Popen(  # noqa: S603 - our own command
            command, stdout=output, stderr=output, env=dict(environment)
        )


@contextmanager
def running_service(
    data: Path,
    *,
    clock: datetime | None,
    seed: str,
    log: Path,
    start: Callable[[Sequence[str], Mapping[str, str], Path], ServiceProcess] = start_process,
) -> Iterator[ServiceClient]:
    """Run `nextplay serve` as a process of its own for as long as the block lasts.

    Without a clock it lives now and runs its jobs by itself. Its admin key is the one in the data folder's
    file `key`, which is made if it is not there.

    Args:
        start: starts `nextplay` with arguments, environment and log, as `start_process` does.

    Raises:
        DemoError: it did not come up; the message holds the end of its log.
    """
    port = _free_port()
    arguments = ["serve", "--data", str(data), "--port", str(port), "--seed", seed]
    arguments += ["--clock", clock.isoformat(), "--no-schedule"] if clock else ["--schedule"]
    key = kept_key(data)
    process = start(arguments, {**os.environ, "NEXTPLAY_ADMIN_KEY": key}, log)
    client = ServiceClient(f"http://127.0.0.1:{port}", key)
    try:
        _wait_until_ready(client, process, log)
        yield client
    finally:
        client.close()
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(client: ServiceClient, process: ServiceProcess, log: Path) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while not client.is_ready():
        if process.poll() is not None or time.monotonic() > give_up:
            end = "\n".join(islice(reversed(log.read_text(errors="replace").splitlines()), 15))
            raise DemoError(f"the service did not start; the end of its log, last line first:\n{end}")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
