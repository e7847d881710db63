"""What the benchmarks of the relay share: messages that wait, providers in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from audiences.consent.models import Channel as Consent
from delivery.channels.channel import Address, Channel
from delivery.channels.gateway import Gateway, GatewaySettings
from delivery.channels.kinds import Opening
from delivery.sandbox.running import TOKEN
from delivery.service import Delivery
from delivery.testing import MemoryPlans, arms_of, decision_for, version_body
from storage.clock import Clock
from storage.engine import Database

# Decisions that begin in one turn of the writer.
_TURN = 200
_SANDBOX = """
import sys, threading
from delivery.sandbox.running import running
with running() as sandbox:
    print(sandbox.http_port, flush=True)
    sys.stdin.read()
"""
# Answers each request after a while, so that many at once come to a rate.
_SLOW = """
import asyncio, sys

from benchmarks.echo import _ANSWER, _Echo

class Slow(_Echo):
    def data_received(self, data):
        asyncio.get_running_loop().call_later(float(sys.argv[1]), super().data_received, data)

async def serve():
    server = await asyncio.get_running_loop().create_server(Slow, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(serve())
"""


def plans(*channels: str) -> MemoryPlans:
    """Return plans of which version n sends one message on the n-th channel, and rests."""
    return MemoryPlans({number: version_body(_flow(channel)) for number, channel in enumerate(channels, 1)})


def _flow(channel: str) -> Mapping[str, Any]:
    return {
        "start": "send",
        "states": {
            "send": {"kind": "send", "channel": channel, "next": "rest"},
            "rest": {"kind": "wait", "duration": "P30D", "next": "end"},
            "end": {"kind": "end", "result": "over"},
        },
    }


def begin(database: Database, clock: Clock, delivery: Delivery, version: int, users: Sequence[str]) -> None:
    """Begin a run of a version for each user."""
    arm = arms_of(version_body(_flow("any")))["milk"]

    def some(connection: Connection, share: Sequence[str]) -> None:
        for user in share:
            decided = decision_for(user, arm, clock.now(), decision_id=f"{user}-{version}", version=version)
            delivery.start(connection, [(decided, arm)])

    for start in range(0, len(users), _TURN):
        share = users[start : start + _TURN]
        database.write(lambda connection, share=share: some(connection, share), rows=2 * len(share))  # type: ignore[misc]


def gateway(database: Database, url: str) -> Channel:
    """Return a channel that posts JSON to a provider, who knows keys."""
    settings = GatewaySettings.model_validate(
        {
            "url": url,
            "auth": {"bearer": "sandbox"},
            "request": {"to": "{address}", "text": "{body}"},
        }
    )
    opening = Opening(folder=Path(), database=database, secrets={"sandbox": TOKEN})
    return Gateway(settings, opening, Address.PHONE, Consent.SMS)


class Phones:
    """Everybody has one."""

    def of(self, user_id: str, address: Address) -> str:
        return "+4915112345678"

    def of_many(self, user_ids: Sequence[str], address: Address) -> Mapping[str, str]:
        return {user: self.of(user, address) for user in user_ids}


@contextmanager
def running_sandbox() -> Iterator[int]:
    """Run the sandbox for as long as the block lasts; gives its HTTP port."""
    with _process(_SANDBOX) as port:
        yield port


@contextmanager
def running_slow(answers_after: timedelta) -> Iterator[int]:
    """Run a provider that answers each request after a while; gives its port."""
    with _process(_SLOW, str(answers_after / timedelta(seconds=1))) as port:
        yield port


@contextmanager
def _process(program: str, *arguments: str) -> Iterator[int]:
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own
        assert process.stdout is not None  # noqa: S101 - asked for above
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()
