"""`people.yaml`: who is on the staff, in which team, under whom, when they work and when they are away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from audiences.zones import EACH_USERS_OWN, Zone
from delivery.people.hours import Hours
from playbooks.document import Document, Name
from playbooks.flow.times import TimeOfDay
from playbooks.library.problems import Problem, refuse
from playbooks.library.reading import read_optional
from playbooks.suggesting import closest
from playbooks.windows.spec import Country

FILE = "people.yaml"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_WORKDAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri")


def _a_place(value: str) -> str:
    if value == EACH_USERS_OWN:
        raise ValueError("people of the staff work in one zone: write it, for example Europe/Berlin")
    return value


StaffZone = Annotated[Zone, AfterValidator(_a_place)]
Label = Annotated[str, Field(min_length=1, max_length=200)]


class WorkingHours(Document):
    """From when until when people work, on which days."""

    model_config = ConfigDict(populate_by_name=True)

    days: Annotated[tuple[Day, ...], Field(min_length=1)] = _WORKDAYS
    from_: Annotated[TimeOfDay, Field(alias="from")]
    until: TimeOfDay

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.from_ >= self.until:
            raise ValueError(
                f"work ends after it begins: {self.from_:%H:%M} is not before {self.until:%H:%M}"
            )
        return self


class Away(Document):
    """The days on which a person does not work, both included; without `until`, from then on."""

    model_config = ConfigDict(populate_by_name=True)

    from_: Annotated[date, Field(alias="from")]
    until: date | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.until is not None and self.until < self.from_:
            raise ValueError(f"the last day, {self.until}, lies before the first, {self.from_}")
        return self


class Team(Document):
    """People who share work. `holidays` is the country whose public holidays are theirs."""

    id: Name
    name: Label
    supervisor: Name | None = None
    zone: StaffZone | None = None
    holidays: Country | None = None
    hours: WorkingHours | None = None


class Person(Document):
    """Somebody of the staff. `also` are names by which traits and CRMs know the person."""

    id: Name
    name: Label
    team: Name | None = None
    supervisor: Name | None = None
    zone: StaffZone | None = None
    holidays: Country | None = None
    hours: WorkingHours | None = None
    away: tuple[Away, ...] = ()
    also: tuple[Label, ...] = ()


class OwnerTraits(Document):
    """Which traits name the owner: of the user's account first, then of the user."""

    account_trait: Label | None = None
    user_trait: Label | None = None

    @property
    def is_silent(self) -> bool:
        """Whether no trait is named."""
        return self.account_trait is None and self.user_trait is None


class Exports(Document):
    """How much a person may take away in a day (UTC)."""

    rows_per_day: Annotated[int, Field(ge=0, le=10_000_000)] = 1_000


class _File(Document):
    zone: StaffZone = "UTC"
    holidays: Country | None = None
    hours: WorkingHours | None = None
    owners: OwnerTraits = OwnerTraits()
    exports: Exports = Exports()
    teams: tuple[Team, ...] = ()
    people: tuple[Person, ...] = ()


@dataclass(frozen=True)
class Staff:
    """The staff as `people.yaml` has it. `hours` are by id, those of everybody else under ""."""

    people: Mapping[str, Person] = field(default_factory=dict)
    teams: Mapping[str, Team] = field(default_factory=dict)
    zone: str = "UTC"
    hours: Mapping[str, Hours] = field(default_factory=dict)
    owners: OwnerTraits = field(default_factory=OwnerTraits)
    exports: Exports = field(default_factory=Exports)

    @property
    def names(self) -> Sequence[str]:
        """The ids of all people and teams."""
        return [*self.people, *self.teams]

    def members(self, team: str) -> list[str]:
        """Return who is in a team, in the order of the file."""
        return [one.id for one in self.people.values() if one.team == team]

    def team_of(self, person: str | None) -> str | None:
        """Return a person's team."""
        known = self.people.get(person or "")
        return None if known is None else known.team

    def supervisor_of(self, person: str | None, team: str | None) -> str | None:
        """Return who is asked when a person, or nobody of a team, does something; None: nobody."""
        known, its = self.people.get(person or ""), self.teams.get(team or "")
        if known is not None and known.supervisor is not None:
            return known.supervisor
        over = its or self.teams.get((known.team if known else None) or "")
        return None if over is None or over.supervisor == person else over.supervisor

    def zone_of(self, person: str | None) -> ZoneInfo:
        """Return by which clock a person lives."""
        known = self.people.get(person or "")
        team = self.teams.get((known.team if known else None) or "")
        return ZoneInfo((known and known.zone) or (team and team.zone) or self.zone)

    def is_away(self, person: str, now: datetime) -> bool:
        """Say whether this is a day on which a person does not work."""
        today = now.astimezone(self.zone_of(person)).date()
        return any(
            one.from_ <= today and (one.until is None or today <= one.until)
            for one in self.people[person].away
        )

    def called(self, name: str) -> str | None:
        """Return the person whom a trait or another system calls by a name, None if nobody is called so."""
        if name in self.people:
            return name
        return next((one.id for one in self.people.values() if name in one.also), None)

    def below(self, supervisor: str) -> frozenset[str]:
        """Return the people whose supervisor somebody is."""
        return frozenset(one for one in self.people if self.supervisor_of(one, None) == supervisor)


def read_staff(folder: Path) -> Staff:
    """Read `people.yaml` of a library folder; without the file there is nobody.

    Raises:
        LibraryError: a field is wrong, or names nobody; the message lists every problem.
    """
    path = folder / FILE
    found = read_optional(path, _File)
    refuse([Problem(str(path), message, at) for at, message in _wrong(found)])
    people = {one.id: one for one in found.people}
    teams = {one.id: one for one in found.teams}
    return Staff(people, teams, found.zone, dict(_hours(found)), found.owners, found.exports)


def _hours(found: _File) -> Iterator[tuple[str, Hours]]:
    teams = {one.id: one for one in found.teams}
    if found.hours is not None:
        yield "", _as_hours(found.hours, found.zone, found.holidays)
    for team in found.teams:
        if (hours := team.hours or found.hours) is not None:
            yield team.id, _as_hours(hours, team.zone or found.zone, team.holidays or found.holidays)
    for person in found.people:
        its = teams.get(person.team or "")
        if (hours := person.hours or (its and its.hours) or found.hours) is not None:
            zone = person.zone or (its and its.zone) or found.zone
            holidays = person.holidays or (its and its.holidays) or found.holidays
            yield person.id, _as_hours(hours, zone, holidays)


def _as_hours(hours: WorkingHours, zone: str, holidays: str | None) -> Hours:
    days = frozenset(_DAYS.index(day) for day in hours.days)
    return Hours(ZoneInfo(zone), days, hours.from_, hours.until, holidays or "")


def _wrong(found: _File) -> Iterator[tuple[str, str]]:
    """Yield (field, problem) of what documents can't see by themselves."""
    people, teams = [one.id for one in found.people], [one.id for one in found.teams]
    for name, times in Counter([*people, *teams]).items():
        if times > 1:
            yield "people", f"the id {name!r} is used {times} times: people and teams share their ids"
    for name, times in Counter([one for person in found.people for one in (person.id, *person.also)]).items():
        if times > 1 and name not in people:
            yield "people", f"{times} people are called {name!r}: a name is one person's"
        elif times > 1:
            yield "people", f"{name!r} is the id of a person and another name of one: a name is one person's"
    for place, team in enumerate(found.teams):
        if team.supervisor is not None and team.supervisor not in people:
            yield (
                f"teams.{place}.supervisor",
                f"no person {team.supervisor!r}{closest(team.supervisor, people)}",
            )
    for place, person in enumerate(found.people):
        if person.team is not None and person.team not in teams:
            yield f"people.{place}.team", f"no team {person.team!r}{closest(person.team, teams)}"
        if person.supervisor is not None and person.supervisor not in people:
            yield (
                f"people.{place}.supervisor",
                f"no person {person.supervisor!r}{closest(person.supervisor, people)}",
            )
        if person.supervisor == person.id:
            yield f"people.{place}.supervisor", f"{person.id!r} can't be their own supervisor"
