"""The façade of delivery: what decisions start and jobs run."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta

import msgspec
from sqlalchemy import Connection

from audiences.identity.people import People
from delivery.addresses import Addresses
from delivery.channels.channel import Channel
from delivery.channels.management import Management
from delivery.coupons.wallet import Wallet
from delivery.deciding import DecideAgain
from delivery.effects import Effects, PointGiver, TagWriter
from delivery.executor import Executor
from delivery.gate import CouponLimits, OpenGate, SendGate
from delivery.handing_over import Dresses, Wanted
from delivery.hands import Hands
from delivery.inside import Inside
from delivery.models import Report
from delivery.outbox import LEASE, Relay
from delivery.parking import put_back_messages
from delivery.people.answering import Answers
from delivery.people.desk import Desk
from delivery.people.escalating import Escalating
from delivery.people.exporting import Exporting
from delivery.people.leaving import Leaving
from delivery.people.opening import TaskGiver
from delivery.people.telling import Histories, NoHistories, Teller
from delivery.plans import Plans
from delivery.recipients import Recipients
from delivery.view import Strangers, Views
from playbooks.decision import Decision
from playbooks.models import Arm
from storage.clock import Clock
from storage.engine import Database
from storage.pace import Pace
from storage.writer import TURN_ROWS


class Delivery:
    """Runs flows from decision to receipt. All times are those of `clock`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        plans: Plans,
        channels: Mapping[str, Channel],
        tags: TagWriter,
        people: People | None = None,
        *,
        gate: SendGate | None = None,
        views: Views | None = None,
        decide_again: DecideAgain | None = None,
        points: PointGiver | None = None,
        holder: str = "delivery",
        batch: int = TURN_ROWS,
        lease: timedelta = LEASE,
        recipients: Recipients | None = None,
        addresses: Addresses | None = None,
        limits: CouponLimits | None = None,
        management: Mapping[str, Management] | None = None,
        patience: float | None = None,
        giver: TaskGiver | None = None,
        histories: Histories | None = None,
        links: Dresses | None = None,
        wanted: Wanted | None = None,
    ) -> None:
        """Wire the parts.

        Args:
            people: who is one person (see `Executor`).
            views: shows users to flows that ask for them; without it all are strangers who live by UTC.
            decide_again: asks the policy for flows that have it decide again.
            points: gives points in scores.
            holder: the name under which messages are leased; different for every process that delivers.
            batch: events, enrolments or messages of a turn, at most `storage.writer.TURN_ROWS`.
            lease: how long an attempt may take before another relay takes the message over.
            recipients: tells of users what contents speak of; without it they see no more than ids.
            addresses: where channels reach users (see `Relay`).
            limits: of coupons; without it there are none.
            management: how channels are used, by name.
            patience: seconds that a round waits for a channel (see `Relay`).
            giver: gives tasks to the staff; without it there is nobody, and they lie where flows put them.
            histories: tells what led to a task.
            links: puts tracked ones into texts.
            wanted: says whether users still want what was claimed (see `Relay`).
        """
        self._stopping = threading.Event()
        self.wallet = Wallet(database, clock, batch=batch, limits=limits)
        self.views = views or Strangers()
        giver = giver or TaskGiver()
        self.executor = Executor(
            database,
            clock,
            plans,
            Effects(self.wallet, tags, points, giver),
            people,
            views=self.views,
            decide_again=decide_again,
            batch=batch,
        )
        self.hands = Hands(database, clock, self.executor)
        self.desk = Desk(database, clock, self.executor, giver.staff)
        self.histories = histories or NoHistories()
        self.answers = Answers(self.desk)
        self.leaving, self.exporting = Leaving(self.desk, giver), Exporting(self.desk, giver)
        self._escalating = Escalating(database, clock, plans, giver, batch)
        self.inside = Inside(database, clock, plans, self.executor)
        self.gate = gate or OpenGate()
        self._relay = Relay(
            database,
            clock,
            plans,
            channels,
            self.gate,
            holder=holder,
            batch=batch,
            lease=lease,
            recipients=recipients,
            people=people,
            addresses=addresses,
            management=management,
            patience=patience,
            tasks=Teller(database, clock, self.histories),
            links=links,
            wanted=wanted,
        )
        self._database = database
        self._putting_back = Pace(batch)

    def start(self, connection: Connection, decided: Sequence[tuple[Decision, Arm]]) -> None:
        """Begin the flows of decisions in the decisions' own transaction (see `Executor.start`)."""
        self.executor.start(connection, decided)

    def refuses(self, connection: Connection, decision: Decision, arm: Arm) -> str | None:
        """Return the rule that keeps a user from beginning a run again (see `Executor.refuses`)."""
        return self.executor.refuses(connection, decision, arm)

    def recover(self) -> int:
        """Take back what a former process of this `holder` was handing over when it died.

        To be called once at the start, when no other process of this name runs. Returns how many messages.
        """
        return self._relay.take_back()

    def run_until_idle(self) -> Report:
        """Route events, advance what is due, relay messages, expire coupons; repeat until nothing is left.

        After `stop` it ends with the turn under way. Events that concern no enrolment leave nothing to do, so
        a stream of them does not keep it going.
        """
        total = Report()
        while not self._stopping.is_set():
            done = self._round()
            total += done
            if not msgspec.structs.replace(done, events=0):
                break
        return total + self._relay.left_behind()

    def finish(self, seconds: float) -> bool:
        """After `stop`: wait until what channels have in hand is recorded; say whether it is."""
        return self._relay.finish(seconds)

    def stop(self) -> None:
        """Let a run end after its turn, because the process is to stop."""
        self._stopping.set()
        self.executor.stop()
        self._relay.stop()

    def _round(self) -> Report:
        put_back_messages(self._database, self._putting_back)
        report = self.executor.put_back()
        # Before a run goes on without its task, whoever is above has got it.
        report += Report(escalated=self._escalating.run())
        report += self.executor.route_events()
        report += self.executor.advance_due()
        report += self._relay.run()
        return report + self.wallet.expire_due()
