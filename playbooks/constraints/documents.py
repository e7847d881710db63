"""Constraints as they are written: in `constraints.yaml` for all playbooks, in a playbook for its own arms.

A constraint holds for the arms that its `for` names and its `exempt` does not; without them for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from audiences.consent.models import Channel
from playbooks.document import Document, Name
from playbooks.money import Money

Purpose = Literal["promotional", "service", "transactional"]
Calendar = Literal["day", "week", "month"]
CALENDAR: tuple[Calendar, ...] = ("day", "week", "month")
# Above ten years nobody means a window; also, moments before 1970 are not kept.
_LONGEST = timedelta(days=3660)
_DURATION: TypeAdapter[timedelta] = TypeAdapter(timedelta)


def _window(value: Any) -> Any:
    if value in CALENDAR:
        return value
    try:
        span = _DURATION.validate_python(value)
    except ValidationError as error:
        raise ValueError(
            f"{value!r} is no window: write a duration like P7D or PT12H, or one of {', '.join(CALENDAR)}"
        ) from error
    return _span(span)


def _span(span: timedelta) -> timedelta:
    if span <= timedelta(0):
        raise ValueError("a window must be longer than nothing; write for example P7D or PT12H")
    if span > _LONGEST:
        raise ValueError(f"a window has at most {_LONGEST.days} days")
    return span


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"there is no time zone {name!r}; name one like Europe/Berlin or UTC")
    return name


# A span that slides, or the day, week (from Monday) or month that it is for the user.
Window = Annotated[timedelta | Calendar, BeforeValidator(_window)]
Span = Annotated[timedelta, AfterValidator(_span)]
Zone = Annotated[str, AfterValidator(_zone)]


class Scope(Document):
    """Arms by what they are: all that is given must fit, in each list any one."""

    purposes: list[Purpose] = []
    labels: list[Name] = []
    playbooks: list[Name] = []
    channels: list[Name] = []
    offers: list[Name] = []

    @property
    def given(self) -> Mapping[str, list[str]]:
        """The lists that say something, by field."""
        lists: dict[str, list[str]] = {name: list(getattr(self, name)) for name in type(self).model_fields}
        return {name: one for name, one in lists.items() if one}


class Scoped(Document):
    """Named, and holding for some arms: those of `for` that none of the words of `exempt` fits."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    id: Name
    for_: Annotated[Scope, Field(alias="for")] = Scope()
    exempt: Scope = Scope()


class Cap(Scoped):
    """At most `limit` uses of the arms it holds for, in any span of `window` or in each calendar one.

    Counted for each user, or for all users of an account together; with `each`, for every playbook (channel,
    offer, purpose) by itself.
    """

    kind: Literal["cap"] = "cap"
    limit: Annotated[int, Field(ge=1, le=1_000_000)]
    window: Window
    per: Literal["user", "account"] = "user"
    each: Literal["playbook", "channel", "offer", "purpose"] | None = None


class CoolDown(Scoped):
    """For so long after something nothing of what it holds for.

    After a `contact`: any use of any playbook by the user; after the same `playbook` was used; after a
    `conversion`: the event of the playbook's goal.
    """

    kind: Literal["cool_down"]
    after: Literal["contact", "playbook", "conversion"]
    lasts: Span


class Group(Document):
    """Playbooks of which a user gets one at a time.

    Members are those listed, those with one of the labels, those that name the group as their
    `exclusive_group`, and the members of other groups. Of those that are left in one decision only the one
    of the highest priority competes, of equal ones one that is fixed for each user; with a `window` also at
    most one use of any of them in it.
    """

    kind: Literal["group"]
    id: Name
    playbooks: list[Name] = []
    labels: list[Name] = []
    groups: list[Name] = []
    window: Window | None = None


class Layer(Scoped):
    """A SQL rule that must be true: who may get it, to whom it applies now, for whom it is suitable."""

    kind: Literal["eligibility", "applicability", "suitability"]
    rule: Annotated[str, Field(min_length=1, max_length=4000)]


class ConsentNeeded(Scoped):
    """The user must have agreed to a purpose on the arm's channel.

    `channels` says which consent a channel needs; one that is not named needs none. The purpose is the
    playbook's own unless one is named.
    """

    kind: Literal["consent"]
    purpose: Name | None = None
    channels: Annotated[dict[Name, Channel], Field(min_length=1)] = {
        "email": Channel.EMAIL,
        "sms": Channel.SMS,
        "push": Channel.PUSH,
    }


class Hold(Scoped):
    """Nothing of what it holds for while something is open: from one event of the user to the other.

    Of both the latest counts; at the same moment the one that ends the hold.
    """

    kind: Literal["hold"]
    opened_by: Annotated[str, Field(min_length=1, max_length=200)]
    closed_by: Annotated[str, Field(min_length=1, max_length=200)]

    @model_validator(mode="after")
    def _two(self) -> Hold:
        if self.opened_by == self.closed_by:
            raise ValueError(f"opened_by and closed_by are both {self.opened_by!r}: it would never hold")
        return self


class Quota(Scoped):
    """At most `maximum` uses in all in each period; until `minimum` are made it goes before all others.

    Periods begin in the zone.
    """

    kind: Literal["quota"]
    period: Literal["day", "week", "month", "all"]
    minimum: Annotated[int | None, Field(ge=1, le=10**9)] = None
    maximum: Annotated[int | None, Field(ge=1, le=10**9)] = None
    zone: Zone = "UTC"

    @model_validator(mode="after")
    def _some(self) -> Quota:
        if self.minimum is None and self.maximum is None:
            raise ValueError("a quota needs a minimum, a maximum or both")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"the minimum {self.minimum} is above the maximum {self.maximum}")
        return self


class MoneyBudget(Scoped):
    """At most this much money in each period, of what arms are expected to `cost`, or may cost at worst.

    One for `all` time is paced from `paced_from` to `paced_until`, if it has these.
    """

    kind: Literal["budget"]
    amount: Money
    period: Literal["day", "week", "month", "all"]
    counts: Literal["cost", "liability"] = "cost"
    zone: Zone = "UTC"
    paced_from: AwareDatetime | None = None
    paced_until: AwareDatetime | None = None

    @field_validator("amount")
    @classmethod
    def _some(cls, amount: Money) -> Money:
        if amount.amount == 0:
            raise ValueError(f"{amount} is nothing: to stop what it holds for, pause that")
        return amount

    @model_validator(mode="after")
    def _paced(self) -> MoneyBudget:
        if self.paced_from is None and self.paced_until is None:
            return self
        if self.period != "all":
            raise ValueError(
                f"a budget for each {self.period} is paced over it; leave out paced_from and paced_until, "
                "or let its period be all"
            )
        if self.paced_from is None or self.paced_until is None:
            raise ValueError("a pace has both paced_from and paced_until")
        if self.paced_until <= self.paced_from:
            raise ValueError("paced_until lies before paced_from, or on it")
        return self

    @property
    def pace(self) -> tuple[datetime, datetime] | None:
        """From when to when one for all time is paced."""
        if self.paced_from is None or self.paced_until is None:
            return None
        return self.paced_from, self.paced_until


class Liability(Scoped):
    """At most this much money may be owed at once for coupons that are neither used nor over."""

    kind: Literal["liability"]
    amount: Money


class Fatigue(Scoped):
    """Each contact of the user takes `cost` from the value of the next, half as much after each `half_life`.

    All uses of all playbooks are contacts, or those that `contacts` names.
    """

    kind: Literal["fatigue"]
    cost: Money
    half_life: Span
    contacts: Scope = Scope()

    @field_validator("cost")
    @classmethod
    def _some(cls, cost: Money) -> Money:
        if cost.amount == 0:
            raise ValueError(f"{cost} is nothing; leave the rule out, or say how much")
        return cost


KINDS = (
    "cap",
    "cool_down",
    "group",
    "eligibility",
    "applicability",
    "suitability",
    "consent",
    "hold",
    "quota",
    "budget",
    "liability",
    "fatigue",
)


def _kind_of(value: Any) -> str | None:
    kind = value.get("kind", "cap") if isinstance(value, dict) else getattr(value, "kind", None)
    if kind in ("eligibility", "applicability", "suitability"):
        return "layer"
    return kind if isinstance(kind, str) else None


_UNKNOWN_KIND = Discriminator(
    _kind_of,
    custom_error_type="unknown_kind",
    custom_error_message=f"there is no such kind of constraint; there are {', '.join(KINDS)}",
)
Constraint = Annotated[
    Annotated[Cap, Tag("cap")]
    | Annotated[CoolDown, Tag("cool_down")]
    | Annotated[Group, Tag("group")]
    | Annotated[Layer, Tag("layer")]
    | Annotated[ConsentNeeded, Tag("consent")]
    | Annotated[Hold, Tag("hold")]
    | Annotated[Quota, Tag("quota")]
    | Annotated[MoneyBudget, Tag("budget")]
    | Annotated[Liability, Tag("liability")]
    | Annotated[Fatigue, Tag("fatigue")],
    _UNKNOWN_KIND,
]


def rule_of(constraint: Constraint, playbook: str | None = None) -> str:
    """Return the id under which a constraint stops, counts and is reported.

    `<kind>.<id>`, of a playbook's own `<kind>.<playbook>.<id>`.
    """
    return ".".join(part for part in (constraint.kind, playbook, constraint.id) if part)
