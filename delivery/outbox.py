"""The relay: takes messages from the outbox and hands them to their channels.

An attempt begins with a lease, in one transaction with the gate's answer (`delivery.claiming`), and ends with
a record, in another (`delivery.recording`). A message is handed over at least once and always with the same
key; a relay that dies leaves its leases to end by themselves. What its last attempt came to is then not
known: on a channel that honours the key it is made again if the gate still lets it through, otherwise the
message is marked `unknown`.

Each channel has a lane of its own: a thread that claims and records, and a few that hand over. A channel that
is slow keeps nobody else from going on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection

from audiences.identity.people import EveryoneAlone, People
from delivery import outbox_repository as outbox
from delivery.addresses import Addresses
from delivery.attempts import Outcome
from delivery.channels.channel import Channel
from delivery.channels.management import Management
from delivery.channels.management.managed import Managed
from delivery.claiming import Claim, Claims, Stops
from delivery.failing_over import Bounces, FailOver
from delivery.gate import SendGate
from delivery.handing_over import Dresses, HandOver, Wanted
from delivery.lanes import Lane
from delivery.models import Report
from delivery.people.telling import NoHistories, Teller
from delivery.plans import Plans
from delivery.recipients import Recipients
from delivery.recording import Records
from playbooks.controls import Watched
from storage.clock import Clock
from storage.engine import Database
from storage.faultpoints import reached
from storage.pace import A_FEW, Pace
from storage.writer import TURN_ROWS

T = TypeVar("T")

# Long enough for what a lane has in hand on a slow provider; a crash delays messages by no more than this.
LEASE = timedelta(minutes=5)


class Relay:
    """Hands over what the outbox holds. Any number may work side by side, each under its own `holder`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        plans: Plans,
        channels: Mapping[str, Channel],
        gate: SendGate,
        *,
        holder: str,
        batch: int = TURN_ROWS,
        lease: timedelta = LEASE,
        recipients: Recipients | None = None,
        people: People | None = None,
        addresses: Addresses | None = None,
        management: Mapping[str, Management] | None = None,
        patience: float | None = None,
        tasks: Teller | None = None,
        links: Dresses | None = None,
        wanted: Wanted | None = None,
    ) -> None:
        """Wire the relay.

        Args:
            batch: messages that a lane has in hand at most.
            people: say under which id a stopped user's profiles are known.
            addresses: where channels reach users; without it only those that need no address do.
            management: how channels are used, by name; one that is not named is `LOCAL`.
            patience: seconds that `run` waits for a channel; None: until all is handed over.
            tasks: makes the requests that tell of tasks.
            links: puts tracked ones into texts.
            wanted: says whether users still want what was claimed (see `HandOver`).
        """
        self._database = database
        self._clock = clock
        self._holder = holder
        self._batch = batch
        self._lease = lease
        self._patience = patience
        self._stopping = threading.Event()
        stops = Stops(Watched(database), people or EveryoneAlone())
        self._managed = managed = Managed(management or {})
        failover = FailOver(plans, managed, channels)
        self._claims = Claims(plans, channels, gate, stops, managed, failover, holder)
        self._records = Records(gate, managed, failover)
        self._bounces = Bounces(database, clock, managed, failover)
        tasks = tasks or Teller(database, clock, NoHistories())
        self._hand_over = HandOver(
            clock,
            channels,
            stops,
            recipients,
            addresses,
            managed,
            self._stopping.is_set,
            tasks,
            links,
            wanted,
        )
        self._claiming, self._recording = Pace(batch, A_FEW), Pace(batch, A_FEW)
        # Gates and paces are asked by one lane at a time. SQLite's one writer sees to that by itself, and
        # commits the turns of several lanes together.
        self._turn: AbstractContextManager[Any] = nullcontext() if database.is_sqlite else threading.Lock()
        self._lanes: dict[str, Lane] = {}

    def stop(self) -> None:
        """Hand over no more than what has begun; the rest waits for the next relay."""
        self._stopping.set()

    def finish(self, seconds: float) -> bool:
        """After `stop`: wait until what has begun is recorded; say whether it is."""
        until = time.monotonic() + seconds
        for lane in self._lanes.values():
            lane.wait(max(0.0, until - time.monotonic()))
        return not any(lane.running for lane in self._lanes.values())

    def take_back(self) -> int:
        """Let the leases of an earlier process with this holder's name end now; return how many there were.

        To be called at the start, when no other relay of this name is running.
        """
        now = self._clock.now()
        return self._database.write(lambda connection: outbox.give_back(connection, self._holder, now))

    def run(self) -> Report:
        """Hand over all messages whose time has come at the present moment; return what came of it.

        Channels go side by side. Where there is `patience`, one that takes longer goes on by itself, and
        what came of that is told by `left_behind`.
        """
        moved = self._bounces.follow()
        with self._database.read() as connection:
            waiting = outbox.waiting_channels(connection, self._clock.now())
        begun = [lane for name in waiting if (lane := self._begin(name)) is not None]
        until = None if self._patience is None else time.monotonic() + self._patience
        for lane in begun:
            lane.wait(None if until is None else max(0.0, until - time.monotonic()))
        ended = [lane for lane in begun if not lane.running]
        return sum((lane.told() for lane in ended), moved)

    def left_behind(self) -> Report:
        """Return what came of messages since it was last told, on channels that `run` did not wait for."""
        return sum((lane.told() for lane in self._lanes.values()), Report())

    def _begin(self, channel: str) -> Lane | None:
        """Let the lane of a channel go; None if it is still going."""
        lane = self._lanes.get(channel)
        if lane is not None and lane.running:
            lane.more = True
            return None
        lane = self._lanes[channel] = Lane(
            channel,
            self._managed.of(channel).concurrency,
            self._batch,
            hand_over=self._hand_over,
            claim=partial(self._claim, channel),
            record=partial(self._record, channel),
            stopping=self._stopping.is_set,
            clock=self._clock,
            before=lane,
        )
        lane.start()
        return lane

    def _claim(self, channel: str, now: datetime, limit: int) -> tuple[bool, Claim]:
        """Claim messages of a channel that are due at a moment; say whether there may be more."""
        until = now + self._lease

        def work(connection: Connection) -> tuple[bool, Claim]:
            def some(most: int) -> tuple[int, tuple[bool, Claim]]:
                most = min(most, limit)
                claim = self._claims.take(connection, channel, now, until, most)
                return claim.taken, (claim.taken >= most, claim)

            return self._claiming.turn(connection, some)[1]

        more, claim = self._in_turn(lambda: self._database.write(work, rows=limit))
        if not claim.attempts:
            return more, claim
        reached("relay.claimed")
        attempts = self._hand_over.with_addresses(channel, claim.attempts)
        return more, msgspec.structs.replace(claim, attempts=attempts)

    def _record(self, channel: str, outcomes: Sequence[Outcome]) -> Report:
        reached("relay.handed_over")

        def keep(connection: Connection, some: Sequence[Outcome]) -> Report:
            return self._records.keep(connection, channel, some, self._clock.now())

        def write() -> list[tuple[Sequence[Outcome], Report]]:
            # Lost in a power cut, it is as though the process had died before it could record.
            return list(self._recording.turns(self._database, outcomes, keep, forced=False))

        return sum((report for _, report in self._in_turn(write)), Report())

    def _in_turn(self, work: Callable[[], T]) -> T:
        with self._turn:
            return work()
