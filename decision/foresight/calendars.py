"""The calendar of what is live: simulates sampled users through the coming days, and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from audiences.triggers.definitions import Triggers
from decision.foresight.crowds import Crowds
from decision.foresight.inquiries import Inquiries
from decision.foresight.occasions import Occasions, Sampled, Span
from decision.foresight.sendings import Sendings
from decision.reach import AudienceReach
from delivery.channels.documents import ChannelSpec
from playbooks.draws import digest_of
from playbooks.library.approval import above
from playbooks.library.importing import approval_of
from playbooks.library.service import LibraryService
from playbooks.matching import Snapshot
from playbooks.rehearsal import calendar
from playbooks.rehearsal.calendar import Breach, Calendar
from playbooks.rehearsal.simulation import Simulation
from storage.clock import Clock
from storage.engine import Database

_HOUR = 3600
# What is known of users beside the features that decisions read: dates, zones.
Known = Callable[[Sequence[str]], Sequence[Mapping[str, Any]]]


class Ahead(msgspec.Struct, frozen=True, kw_only=True):
    """How far to look: so many `days`, by `sample` users drawn by `seed`."""

    days: int = 14
    sample: int = 1_000
    seed: str = "calendar"


class Calendars:
    """Looks ahead for what one service serves."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        library: LibraryService,
        served: Callable[[], Snapshot],
        crowds: Crowds,
        inquiries: Inquiries,
        known: Known,
        triggers: Triggers,
        sendings: Sendings,
        channels: Mapping[str, ChannelSpec],
    ) -> None:
        self._database, self._clock, self._library, self._served = database, clock, library, served
        self._crowds, self._inquiries, self._known, self._triggers = crowds, inquiries, known, triggers
        self._sendings, self._channels = sendings, channels

    def ahead(self, wanted: Ahead) -> Calendar:
        """Return what is to be expected of all live playbooks together.

        Raises:
            FeaturesUnavailable: features can't be read now.
        """
        now, snapshot = self._clock.now(), self._served()
        span = Span(now, now + timedelta(days=wanted.days))
        everybody = self._crowds.everybody()
        users = len(everybody)
        chance = np.random.default_rng(int.from_bytes(digest_of((wanted.seed,), 16, b"calendar")))
        drawn = np.sort(chance.choice(users, size=min(wanted.sample, users), replace=False))
        names = everybody(drawn)
        weight = users / len(names) if names else 1.0
        library = snapshot.library
        placements = sorted({one.document.placement for one in library.playbooks})
        members = {
            placement: self._inquiries.members(names, library, placement, now) for placement in placements
        }
        sampled = Sampled([self._inquiries.memberships.of(name) for name in names], self._known(names))
        seed = int.from_bytes(digest_of((wanted.seed,), 8, b"occasions"))
        occasions, rests = Occasions(self._database, self._triggers, sampled, weight, seed).of(library, span)
        played = Simulation(snapshot, members, weight, wanted.seed).play(occasions)
        going = self._sendings.of(played.contacts, names, now, span.ends)
        cells = calendar.volume(going.sent, weight)
        return Calendar(
            begins=span.begins,
            ends=span.ends,
            users=users,
            sampled=len(names),
            seed=wanted.seed,
            rests_on=rests,
            channels=calendar.channels(going.sent, cells, len(names), users),
            volume=cells,
            contacts=calendar.contacts_per_user(going.sent, len(names), weight),
            spend=calendar.spend(played.contacts, weight),
            breaches=[
                *calendar.breaches(played, weight),
                *calendar.skipped(going.skipped, weight),
                *calendar.crowded(cells, *self._taken()),
                *self._approvals(snapshot),
            ],
            starving=list(calendar.starving(library, played, weight)),
        )

    def _taken(self) -> tuple[dict[str, float], dict[str, tuple[int, ZoneInfo]]]:
        """Return how many messages channels take in an hour, and in a day of which zone."""
        used = {name: one.entry.management for name, one in self._channels.items()}
        hourly = {name: one.rate.per_second * _HOUR for name, one in used.items() if one.rate}
        daily = {
            name: (one.quota.day, ZoneInfo(one.quota.zone))
            for name, one in used.items()
            if one.quota is not None and one.quota.day is not None
        }
        return hourly, daily

    def _approvals(self, snapshot: Snapshot) -> Iterator[Breach]:
        """Yield what is live and would by now need a second person."""
        with self._database.read() as connection:
            approval = approval_of(connection)
        for one in snapshot.library.playbooks:
            standing, body = self._library.version(one.id, one.version)
            if standing.approved_by is None:
                for reason in above(approval, body, AudienceReach(self._database)):
                    yield Breach("approval", f"approval.{one.id}", 0.0, None, reason)
