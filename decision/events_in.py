"""What stands between senders and the ledger, put together: plan, machines, quarantine, quality, liveness."""

from __future__ import annotations

import threading
from collections.abc import Collection
from datetime import datetime
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from audiences.intake.intake import Intake
from audiences.intake.ports import Identities, Traits
from audiences.liveness import api as liveness_api
from audiences.liveness.service import Liveness
from audiences.machines import api as machines_api
from audiences.machines.definitions import MachinesSpec, read_machines
from audiences.machines.machines import KnownMachines, OwnDelivery
from audiences.machines.service import MachineEvents
from audiences.plan import api as plan_api
from audiences.plan.documents import FOLDER, read_plan
from audiences.plan.live import Live, LiveMachines, LivePlan
from audiences.plan.plan import Plan
from audiences.quality import api as quality_api
from audiences.quality.arrivals import CountedArrivals, Refusals
from audiences.quality.service import Quality
from audiences.quality.utilisation import Property
from audiences.quarantine import api as quarantine_api
from audiences.quarantine.service import Quarantine
from decision.observe import metrics
from decision.settings import Settings
from delivery.models import MessageState
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ledger import Kind

# Seconds between two looks at the files.
_LOOK = 2.0


class EventsIn:
    """The way of events into one service."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: Settings,
        identities: Identities,
        traits: Traits,
        used: Collection[Property],
    ) -> None:
        """Read the tracking plan and what machines are.

        Raises:
            PlanError: a file is wrong.
        """
        folder = settings.library_folder / FOLDER
        self.plan: Live[Plan] = Live(folder, partial(read_plan, region=settings.phone_region or None))
        known = partial(_known_machines, own_delivery=partial(_own_delivery, database))
        self.machines: Live[KnownMachines] = Live(folder, known)
        self._clock = clock
        self._identities = identities
        self._traits = traits
        self._arrivals = CountedArrivals(settings.late_after, metrics.EVENTS_LATE.inc)
        self._used = used
        self.intake = self.intake_of(database)
        self.refusals = Refusals(database, clock)
        self.quarantine = Quarantine(database, self.intake, LivePlan(self.plan))
        self.machine_events = self.machine_events_of(database)
        self.quality = self.quality_of(database)
        self.liveness = Liveness(database)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="plan", daemon=True)

    def machine_events_of(self, database: Database) -> MachineEvents:
        """Return the machine events as a job sees them through a database of its own."""
        return MachineEvents(database, self.intake_of(database), self._spec)

    def quality_of(self, database: Database) -> Quality:
        """Return the data quality as a job sees it through a database of its own."""
        return Quality(database, self._used)

    def start(self) -> None:
        """Follow the files: what they say holds from the next look on."""
        self._thread.start()

    def stop(self) -> None:
        """Follow no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def intake_of(self, database: Database) -> Intake:
        """Return the way in as a job uses it through a database of its own."""
        return Intake(
            database,
            plan=LivePlan(self.plan),
            machines=LiveMachines(self.machines),
            identities=self._identities,
            traits=self._traits,
            arrivals=self._arrivals,
        )

    def add_routes(self, app: FastAPI) -> None:
        """Add the routes of plan, quarantine, machines, quality and liveness."""
        app.include_router(plan_api.router(self.plan))
        app.include_router(quarantine_api.router(self.quarantine, self._clock))
        app.include_router(machines_api.router(self.machine_events, self._clock))
        app.include_router(quality_api.router(self.quality, self._clock))
        app.include_router(liveness_api.router(self.liveness, self._clock))

    def _spec(self) -> MachinesSpec:
        # The process of the jobs may be asked before it follows.
        self.plan.follow()
        self.machines.follow()
        return self.machines.value.spec

    def _follow(self) -> None:
        while not self._stop.wait(_LOOK):
            self.plan.follow()
            self.machines.follow()


def _known_machines(folder: Path, own_delivery: OwnDelivery) -> KnownMachines:
    return KnownMachines(read_machines(folder), own_delivery)


def _own_delivery(database: Database, message: str) -> datetime | None:
    """Return when one of our own messages was delivered, or else sent."""
    with database.read() as connection:
        for state in (MessageState.DELIVERED, MessageState.SENT):
            fact = ledger.get(connection, Kind.MESSAGE, f"{message}:{state}")
            if fact is not None:
                return fact.occurred_at
    return None
