"""Definitions of triggers: `triggers.yaml`, read as a whole or not at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from audiences.definitions import Name
from audiences.errors import TriggerError
from audiences.library_files import Document, place, read_document, said
from audiences.properties import PropertyRule, PropertyType, parse_property_rule
from audiences.rules import RuleError
from audiences.triggers.calendar import CalendarError, Cron, Rrule
from audiences.zones import EACH_USERS_OWN, Zone
from feature_repo.schema import EventSchemas

# Windows longer than this are for features and audiences, which count without reading the events again.
LONGEST_WINDOW = timedelta(days=31)
_FRESH = timedelta(days=1)


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("the time must be longer than zero")
    return value


Positive = Annotated[timedelta, AfterValidator(_positive)]


class EventSpec(Document):
    """Events of a name, those of which `where` holds; `properties` types what `events.yaml` does not name."""

    event: str
    where: str | None = None
    properties: Mapping[str, PropertyType] = {}


class OnEvent(EventSpec):
    """Each such event; with `count`, so many within a time; with `unless`, when another stays away."""

    count: int = Field(default=1, ge=1, le=1000)
    within: Positive | None = None
    unless: Silence | None = None

    @model_validator(mode="after")
    def check(self) -> Self:
        if (self.count > 1) != (self.within is not None):
            raise ValueError("`count` above 1 and `within` go together")
        if self.within is not None and self.within > LONGEST_WINDOW:
            raise ValueError(f"`within` is at most {LONGEST_WINDOW.days} days; count longer by a feature")
        if self.unless is not None and self.count > 1:
            raise ValueError("`unless` goes with a single event")
        return self


class Silence(EventSpec):
    """Nothing of this kind for a time after the event; each new event begins the wait again."""

    after: Positive


class OnAudience(Document):
    """A user enters or leaves an audience."""

    entered: Name | None = None
    left: Name | None = None

    @model_validator(mode="after")
    def check(self) -> Self:
        if (self.entered is None) == (self.left is None):
            raise ValueError("name the audience with either `entered` or `left`")
        return self


class OnGrade(Document):
    """A user's grade in a score becomes this one, from below, from above, or either."""

    score: Name
    grade: str
    way: Literal["up", "down", "either"] = "up"


class OnStage(Document):
    """A user comes to a stage of a lifecycle, or the user's account to one of accounts."""

    lifecycle: Name
    stage: Name


class OnDate(Document):
    """A date of the user, a feature that is a time or ISO text, comes, or is so far off.

    It may be one of the user's account: `account.renews_at`.
    """

    date: Annotated[str, Field(pattern=r"^(account\.)?[a-z0-9][a-z0-9_]{0,63}$")]
    every: Literal["year", "once"] = "year"
    offset: timedelta = timedelta(0)
    at: time = time(9)
    zone: Zone = EACH_USERS_OWN


class OnSchedule(Document):
    """Moments of a cron line, or of an RRULE from a start, for everybody in an audience."""

    cron: str | None = None
    rrule: str | None = None
    start: datetime | None = None
    zone: Zone

    @model_validator(mode="after")
    def check(self) -> Self:
        if (self.cron is None) == (self.rrule is None):
            raise ValueError("a schedule is either `cron` or `rrule`")
        if (self.rrule is None) != (self.start is None):
            raise ValueError("`rrule` needs `start`, the local time it counts from; `cron` takes none")
        if self.start is not None and self.start.tzinfo is not None:
            raise ValueError("`start` is a local time of `zone`: write it without an offset")
        _ = self.calendar
        return self

    @property
    def calendar(self) -> Cron | Rrule:
        """The moments in local time."""
        try:
            if self.cron is not None:
                return Cron(self.cron)
            assert self.rrule is not None and self.start is not None  # noqa: S101, PT018 - `check` saw to it
            return Rrule(self.rrule, self.start)
        except CalendarError as error:
            raise ValueError(str(error)) from error


class ByHand(Document):
    """Only when somebody says so."""

    by_hand: Literal[True]


When = OnEvent | OnAudience | OnGrade | OnStage | OnDate | OnSchedule | ByHand


class TagOnFire(Document):
    """A tag that the trigger puts on the user."""

    tag: Name
    expires_after: Positive | None = None


class TriggerSpec(Document):
    """A trigger: what it is on, for whom, and what it does at once.

    `audience`: only who is in it. `again`: not sooner than this after the last time, for the same user.
    `fresh`: what came about longer ago than this when it becomes known starts nothing; a day for what
    happens, however long for dates and schedules, unless it is said.
    """

    id: Name
    name: str
    when: When
    audience: Name | None = None
    again: Positive | None = None
    fresh: Positive | None = None
    tag: TagOnFire | None = None

    @model_validator(mode="after")
    def check(self) -> Self:
        if isinstance(self.when, OnSchedule) and self.audience is None:
            raise ValueError("a schedule needs `audience`: whom it is for")
        return self

    @property
    def oldest(self) -> timedelta | None:
        """How long ago a cause may have come about."""
        if self.fresh is None and not isinstance(self.when, OnDate | OnSchedule):
            return _FRESH
        return self.fresh


class ZonesSpec(Document):
    """Where a user's time zone is found: a text feature, and the zone of those who have none."""

    feature: Name | None = None
    fallback: Zone = "UTC"


class _File(Document):
    zones: ZonesSpec = ZonesSpec()
    triggers: list[TriggerSpec] = []


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger ready for use: its conditions on events, parsed."""

    spec: TriggerSpec
    where: PropertyRule | None = None
    unless: PropertyRule | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What triggers may name: features with their types, audiences, grades by score, stages by lifecycle."""

    features: Mapping[str, str]
    audiences: Collection[str]
    grades: Mapping[str, Sequence[str]]
    stages: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Triggers:
    """All triggers of a library."""

    zones: ZonesSpec
    triggers: tuple[Trigger, ...]


def read_triggers(path: Path, events: EventSchemas, known: Known) -> Triggers:
    """Read and check `triggers.yaml`; without the file there are none.

    Raises:
        TriggerError: a field is wrong or unknown, a condition does not parse, a calendar never comes, or a
            name names nothing; every problem is listed.
    """
    file = read_document(path, _File, TriggerError, told=_told)
    ids = [spec.id for spec in file.triggers]
    problems = [f"{one}: used twice" for one in sorted({one for one in ids if ids.count(one) > 1})]
    if file.zones.feature is not None and known.features.get(file.zones.feature) != "text":
        problems.append(f"zones.feature: there is no text feature {file.zones.feature!r}")
    for spec in file.triggers:
        problems += [f"{spec.id}: {problem}" for problem in _names_nothing(spec, known)]
    triggers = [_ready(spec, events, problems) for spec in file.triggers]
    if problems:
        raise TriggerError(f"{path}: " + "; ".join(problems))
    return Triggers(file.zones, tuple(triggers))


def _told(error: ValidationError) -> str:
    """Return the problems; of the kinds of trigger only those of the kind that was meant."""
    problems: dict[tuple[int | str, ...], list[tuple[str, str]]] = {}
    kinds = {kind.__name__ for kind in (OnEvent, OnAudience, OnGrade, OnStage, OnDate, OnSchedule, ByHand)}
    for one in error.errors():
        steps = one["loc"]
        # Pydantic calls them by their class, or by the validator around it.
        meant = {part: kind for part in steps for kind in kinds if isinstance(part, str) and kind in part}
        kind = next(iter(meant.values()), "")
        short = tuple(part for part in steps if part not in meant)
        head = short[: short.index("when") + 1] if kind and "when" in short else short
        problems.setdefault(head, []).append((kind, f"{place(short)}: {said(one)}"))
    told = []
    for of_place in problems.values():
        by_kind: dict[str, list[str]] = {}
        for kind, text in of_place:
            by_kind.setdefault(kind, []).append(text)
        fewest: list[str] = min(by_kind.values(), key=len)
        told += fewest
    return "; ".join(told)


def _names_nothing(spec: TriggerSpec, known: Known) -> list[str]:
    problems = []
    audiences = [spec.audience]
    match spec.when:
        case OnAudience(entered=entered, left=left):
            audiences += [entered, left]
        case OnGrade(score=score, grade=grade):
            if grade not in known.grades.get(score, ()):
                problems.append(f"there is no grade {grade!r} of a score {score!r}")
        case OnStage(lifecycle=lifecycle, stage=stage):
            if stage not in known.stages.get(lifecycle, ()):
                problems.append(f"there is no stage {stage!r} of a lifecycle {lifecycle!r}")
        case OnDate(date=feature):
            if known.features.get(feature) not in ("time", "text"):
                problems.append(f"there is no feature {feature!r} that is a time or text")
        case _:
            pass
    return problems + [
        f"there is no audience {one!r}; there are {', '.join(sorted(known.audiences))}"
        for one in audiences
        if one is not None and one not in known.audiences
    ]


def _ready(spec: TriggerSpec, events: EventSchemas, problems: list[str]) -> Trigger:
    if not isinstance(spec.when, OnEvent):
        return Trigger(spec)
    where = _condition(spec.when, events, f"{spec.id}.when.where", problems)
    unless = spec.when.unless
    return Trigger(
        spec, where, _condition(unless, events, f"{spec.id}.when.unless.where", problems) if unless else None
    )


def _condition(spec: EventSpec, events: EventSchemas, place: str, problems: list[str]) -> PropertyRule | None:
    if spec.where is None:
        return None
    try:
        return parse_property_rule(spec.where, spec.event, events, spec.properties)
    except RuleError as error:
        problems.append(f"{place}: {error}")
        return None
