"""When sampled users will be decided about: schedules, dates, and the recent rates of what just happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from audiences.triggers.dates import came, day_of
from audiences.triggers.definitions import OnDate, OnSchedule, Triggers, TriggerSpec
from audiences.zones import EACH_USERS_OWN, zone_of
from decision.foresight.outlook import moments
from playbooks.library import Library
from playbooks.models import Playbook
from playbooks.rehearsal import repository
from playbooks.rehearsal.calendar import Rests
from playbooks.rehearsal.simulation import Occasion
from storage.engine import Database
from storage.ledger import Kind

# So far back rates are looked at; what is younger is averaged over the days there are.
LOOK_BACK = timedelta(days=14)
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


class Sampled:
    """Users by place: audiences each is in, and what is known of dates and zones."""

    def __init__(self, audiences: Sequence[Any], values: Sequence[Mapping[str, Any]]) -> None:
        self.audiences, self.values = audiences, values

    def inside(self, audience: str | None) -> list[int]:
        """Return the places of those in an audience."""
        return [place for place, of in enumerate(self.audiences) if audience is None or audience in of]


@dataclass(frozen=True)
class Span:
    """The days that are looked at."""

    begins: datetime
    ends: datetime


class Occasions:
    """Finds them for what a library serves. `weight` is how many users each sampled one stands for."""

    def __init__(
        self, database: Database, triggers: Triggers, sampled: Sampled, weight: float, seed: int
    ) -> None:
        self._database, self._zones, self._sampled, self._weight = database, triggers.zones, sampled, weight
        self._triggers = {one.spec.id: one.spec for one in triggers.triggers}
        self._chance = np.random.default_rng(seed)

    def of(self, library: Library, span: Span) -> tuple[list[Occasion], list[Rests]]:
        """Return the occasions of all playbooks in their order, and what those of each rest on."""
        found: list[Occasion] = []
        rests: list[Rests] = []
        begun: dict[tuple[str | None, str], tuple[int, str]] = {}
        for playbook in {one.id: one.document for one in library.playbooks}.values():
            # Of playbooks that begin alike at a placement, one decision chooses.
            key = (playbook.trigger, playbook.placement)
            if key not in begun:
                occasions, said = self._begin(playbook, span)
                found += occasions
                begun[key] = (len(occasions), said)
            count, said = begun[key]
            rests.append(Rests(playbook.id, round(count * self._weight, 2), said))
        return sorted(found, key=lambda one: (one.at, one.user, one.placement)), rests

    def _begin(self, playbook: Playbook, span: Span) -> tuple[list[Occasion], str]:
        placement = playbook.placement
        if playbook.trigger is None:
            occasions, days, count = self._recent(Kind.DECISION, placement, None, placement, span)
            return occasions, f"{count} decisions at {placement} in the last {days:.3g} days, at their hours"
        spec = self._triggers.get(playbook.trigger)
        if spec is None:
            return [], f"nothing: there is no trigger {playbook.trigger} in triggers.yaml"
        match spec.when:
            case OnSchedule() as on:
                return list(self._scheduled(spec, on, placement, span)), f"the schedule of {spec.id}"
            case OnDate() as on:
                return list(
                    self._dated(spec, on, placement, span)
                ), f"{on.date} of the sampled users ({spec.id})"
            case _:
                occasions, days, count = self._recent(Kind.TRIGGER, spec.id, spec.audience, placement, span)
                return occasions, f"{spec.id} fired {count} times in the last {days:.3g} days, at their hours"

    def _scheduled(self, spec: TriggerSpec, on: OnSchedule, placement: str, span: Span) -> Iterator[Occasion]:
        calendar = on.calendar
        called: dict[ZoneInfo, list[datetime]] = {}
        for place in self._sampled.inside(spec.audience):
            zone = self._zone(on.zone, place)
            if zone not in called:
                called[zone] = moments(calendar, span.begins, span.ends, zone)
            yield from (Occasion(at, place, placement, spec.id, spec.id) for at in called[zone])

    def _dated(self, spec: TriggerSpec, on: OnDate, placement: str, span: Span) -> Iterator[Occasion]:
        for place in self._sampled.inside(spec.audience):
            zone = self._zone(on.zone, place)
            day = day_of(self._sampled.values[place].get(on.date), zone)
            # A date comes at most once in so few days.
            found = None if day is None else came(on, day, zone, span.begins, span.ends)
            if found is not None:
                yield Occasion(found[1], place, placement, spec.id, spec.id)

    def _recent(
        self, kind: Kind, label: str, audience: str | None, placement: str, span: Span
    ) -> tuple[list[Occasion], float, int]:
        """Draw occasions at the hours of the day, and as often, as something happened of late."""
        since = span.begins - LOOK_BACK
        with self._database.read() as connection:
            hours = repository.by_hour(connection, kind, label, since, span.begins)
        users, trigger = self._sampled.inside(audience), label if kind is Kind.TRIGGER else None
        if not hours or not users:
            return [], LOOK_BACK / _DAY, sum(hours.values())
        days = max(1.0, (span.begins - datetime.fromtimestamp(min(hours) * 3600, UTC)) / _DAY)
        daily = np.zeros(24)
        for hour, count in hours.items():
            daily[hour % 24] += count / days / self._weight
        found = []
        at = span.begins.replace(minute=0, second=0, microsecond=0)
        while at < span.ends:
            for _ in range(self._chance.poisson(daily[at.hour])):
                moment = at + _HOUR * self._chance.random()
                user = users[self._chance.integers(len(users))]
                if span.begins < moment <= span.ends:
                    found.append(Occasion(moment, user, placement, label, trigger))
            at += _HOUR
        return found, days, sum(hours.values())

    def _zone(self, said: str, place: int) -> ZoneInfo:
        if said != EACH_USERS_OWN:
            return ZoneInfo(said)
        return zone_of(self._sampled.values[place].get(self._zones.feature or ""), self._zones.fallback)
