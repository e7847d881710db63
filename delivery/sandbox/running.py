"""Runs the sandbox in a thread of its own: for tests, for benchmarks, and for `nextplay sandbox`."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import uvicorn

from delivery.sandbox.gateway import application
from delivery.sandbox.letters import server_of
from delivery.sandbox.taking import Taking

TOKEN = "sandbox"  # noqa: S105 - whoever reaches this machine may use its sandbox
# What it takes webhooks to be signed with.
SECRET = "whsec_c2FuZGJveC1zYW5kYm94LXNhbmRib3g="  # noqa: S105 - as above
_START_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox: where it listens, and what it took."""

    taking: Taking
    http_port: int
    smtp_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"


@contextmanager
def running(
    http_port: int = 0,
    smtp_port: int = 0,
    *,
    tls: ssl.SSLContext | None = None,
    starttls: bool = False,
    token: str = TOKEN,
) -> Iterator[Sandbox]:
    """Run a sandbox on this machine for as long as the block lasts; port 0: any that is free.

    Args:
        tls: with which SMTP is spoken, from the first byte or, with `starttls`, from when it is asked for.

    Raises:
        OSError: a port is in use.
    """
    taking = Taking()
    listening = socket.create_server(("127.0.0.1", http_port))
    # What is accepted inherits it. asyncio sets it on sockets of its own only, and without it the body of an
    # answer waits until the client has acknowledged the head: 40 ms on Linux.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Without a configuration of logs, which would change those of the process it is a part of.
    app = application(taking, token, SECRET)
    config = uvicorn.Config(app, log_config=None, log_level="warning", lifespan="off", access_log=False)
    server = _Quiet(config)
    loop = asyncio.new_event_loop()
    begun: list[int] = []
    started = threading.Event()
    failed: list[OSError] = []

    async def serve() -> None:
        try:
            letters = await loop.create_server(
                partial(server_of, taking, token, tls, starttls=starttls),
                "127.0.0.1",
                smtp_port,
                ssl=None if starttls else tls,
            )
        except OSError as error:
            failed.append(error)
            started.set()
            return
        begun.append(letters.sockets[0].getsockname()[1])
        started.set()
        async with letters:
            await server.serve(sockets=[listening])
            letters.close()

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(serve())
        finally:
            loop.close()

    thread = threading.Thread(target=run, name="sandbox", daemon=True)
    thread.start()
    started.wait(_START_SECONDS)
    if failed:
        listening.close()
        raise failed[0]
    try:
        yield Sandbox(taking, listening.getsockname()[1], begun[0])
    finally:
        server.should_exit = True
        # What was told to be slow or endless is not waited for.
        server.force_exit = True
        thread.join(_START_SECONDS)
        listening.close()


class _Quiet(uvicorn.Server):
    """A server that leaves signals to the process it is a part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
