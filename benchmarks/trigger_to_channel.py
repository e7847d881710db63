"""From an event that triggers a playbook to its message at the channel, with the whole service in between."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.benchmark import Benchmark, Bound, Pair, Say
from benchmarks.errors import BenchmarkError
from benchmarks.handing_over import running_sandbox
from benchmarks.http_load import Requests, run
from benchmarks.schedule import Schedule, percentile
from delivery.sandbox.running import TOKEN

if TYPE_CHECKING:
    from decision.demo.client import ServiceClient

PER_SECOND, TRIGGERS, REPEATS = 300, 6_000, 3
# How long messages may take after the last event before what is missing counts as lost.
_GIVE_UP_SECONDS = 60.0
_LOOK_SECONDS = 0.5
_CHANNELS = """
channels:
  - {id: mailbox, kind: mailbox}
  - id: sms
    kind: sms_gateway
    settings:
      url: URL
      auth: {bearer: carrier}
      request: {to: "{address}", text: "{body}"}
"""
_TRIGGERS = """
triggers:
  - {id: left_cart, name: Left the cart, when: {event: cart_left}}
"""
_PLAYBOOK = """
id: cart
name: Says that the cart is kept
trigger: left_cart
placement: outbound
goal: {event: order_completed, window: P7D}
variants: [{offers: [bacon], channel: sms, content: offer_notice}]
flow:
  start: say
  states:
    say: {kind: send, next: rest}
    rest: {kind: wait, duration: P5D, next: over}
    over: {kind: end, result: over}
"""
# Whoever leaves a cart is told: what a draw leaves out can't be late.
_POLICY = """
id: carts
placements: [outbound]
reward: {low: 0, high: 1}
exploration: {kind: single, variant: cart/bacon}
"""


def measure(rate: float, number: int, folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of p99 in milliseconds: until the message is taken, and until the event is acknowledged.

    Raises:
        BenchmarkError: an event was refused, or a message did not arrive or came twice.
    """
    from decision.demo.client import running_service  # noqa: PLC0415 - an HTTP client, needed here only

    data = folder / "data"
    with running_sandbox() as port:
        _write_library(data / "library", f"http://127.0.0.1:{port}/sms/messages")
        (data / "settings.env").write_text(f'NEXTPLAY_CHANNEL_SECRETS={{"carrier": "{TOKEN}"}}\n')
        with (
            running_service(data, clock=None, seed="bench", log=folder / "service.log") as client,
            _taken(port) as taken,
        ):
            pairs = []
            for repeat in range(REPEATS):
                phones = [f"+4915{repeat}{index:08}" for index in range(number)]
                _introduce(client, phones)
                pair, middle = _round(client, taken, phones, Schedule(rate, number))
                say(f"{pair.subject:,.0f} ms, half of them in {middle:,.0f} ms")
                pairs.append(pair)
    return pairs


def _write_library(folder: Path, url: str) -> None:
    from decision.demo.run import LIBRARY  # noqa: PLC0415 - the demo draws plots

    shutil.copytree(LIBRARY, folder)
    documents = {
        "channels": _CHANNELS.replace("URL", url),
        "triggers": _TRIGGERS,
        "policy": _POLICY,
        "playbooks/cart": _PLAYBOOK,
    }
    for name, text in documents.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def _introduce(client: ServiceClient, phones: Sequence[str]) -> None:
    """Let users be known with their phones, and be looked at before anything is measured.

    A service that has just begun computes everybody's features and audiences, which is another matter.
    """
    client.ingest(
        ({"type": "identify", "userId": _user(one), "traits": {"phone": one}} for one in phones),
        lambda _: None,
    )
    for job in ("features", "audiences", "push", "triggers", "deliver"):
        client.run(job)


def _round(
    client: ServiceClient, taken: _Taken, phones: Sequence[str], schedule: Schedule
) -> tuple[Pair, float]:
    bodies = [
        msgspec.json.encode({"userId": _user(one), "event": "cart_left", "properties": {}}) for one in phones
    ]
    requests = Requests(int(client.http.base_url.port or 0), "/v1/track", bodies, key=client.key)
    # In this process, which has nothing else to do: the sandbox and the service have their own.
    started = time.time()
    acknowledged = run(requests, schedule)
    if acknowledged.errors:
        raise BenchmarkError(f"{acknowledged.errors} events were not acknowledged; the measurement is void")
    arrived = taken.all_of(phones)
    seconds = sorted(
        arrived[one].timestamp() - started - schedule.due(index) for index, one in enumerate(phones)
    )
    pair = Pair(1e3 * percentile(seconds, 99), acknowledged.p99)
    return pair, 1e3 * percentile(seconds, 50)


class _Message(msgspec.Struct):
    to: str
    at: datetime
    asked: int = 1


class _Answer(msgspec.Struct):
    taken: list[_Message]


class _Taken:
    """What the provider took."""

    def __init__(self, http: Any) -> None:
        self._http = http

    def all_of(self, phones: Sequence[str]) -> Mapping[str, datetime]:
        """Wait for a message to each of these phones; return when each was taken.

        Raises:
            BenchmarkError: one did not arrive, or somebody was sent two.
        """
        wanted, give_up = set(phones), time.monotonic() + _GIVE_UP_SECONDS
        while True:
            answer = self._http.get("/taken").content
            messages = [one for one in msgspec.json.decode(answer, type=_Answer).taken if one.to in wanted]
            found = {one.to: one.at for one in messages}
            if len(found) == len(wanted):
                break
            if time.monotonic() > give_up:
                raise BenchmarkError(
                    f"{len(wanted) - len(found)} of {len(wanted)} messages did not arrive within "
                    f"{_GIVE_UP_SECONDS:g} s; the measurement is void"
                )
            time.sleep(_LOOK_SECONDS)
        if len(messages) > len(found) or any(one.asked > 1 for one in messages):
            raise BenchmarkError("a message was handed over twice; the measurement is void")
        return found


@contextmanager
def _taken(port: int) -> Iterator[_Taken]:
    import httpx2  # noqa: PLC0415 - as above

    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=_GIVE_UP_SECONDS) as http:
        yield _Taken(http)


def _user(phone: str) -> str:
    return f"user-{phone[1:]}"


def _at(rate: float) -> Benchmark:
    return Benchmark(
        name="trigger_to_channel",
        measures=f"p99 from an event that fires a trigger to its message at the provider, {rate:g} events/s.",
        against="The same events until they are acknowledged.",
        unit="ms",
        bound=Bound("value", "<=", 2000),
        run=partial(measure, rate, TRIGGERS),
        sized=lambda number: partial(measure, rate, number),
        at_rate=_at,
    )


TRIGGER_TO_CHANNEL = _at(PER_SECOND)
