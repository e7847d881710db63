"""Goals as playbooks write them: which events count, what they are worth, for how long."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from playbooks.document import Document
from playbooks.money import Money
from playbooks.suggesting import closest

# The property in which an event names the currency of its amounts, as the Segment specification has it.
CURRENCY = "currency"
# The name under which a user's opting out is an outcome; no event has it.
OPT_OUT = "(opted out)"

Window = Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=366))]


class ValueRefused(ValueError):
    """An event's property is no number that could be a reward; the message says why."""


class FromProperty(Document):
    """A number that an outcome says in one of its properties, × `times` in units of reward, at most `most`.

    With a `currency`, an event that names another one is refused: there is no exchange rate here.
    """

    property: Annotated[str, Field(min_length=1, max_length=64)]
    times: Annotated[float, Field(gt=0)] = 1.0
    most: Annotated[float, Field(gt=0)]
    currency: str | None = None

    @field_validator("currency")
    @classmethod
    def _is_one(cls, value: str | None) -> str | None:
        if value is not None:
            Money(0, value)
        return value

    def read(self, properties: Mapping[str, Any]) -> float:
        """Return what an event says, in [0, most] units of reward.

        Raises:
            ValueRefused: it says no number, or one that is negative, infinite or of another currency.
        """
        value = properties.get(self.property)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueRefused(f"{self.property} is {_shown(value)}, not a number")
        if not math.isfinite(value) or value < 0:
            raise ValueRefused(f"{self.property} is {_shown(value)}, not a number from 0 on")
        named = properties.get(CURRENCY)
        if self.currency is not None and named is not None and named != self.currency:
            raise ValueRefused(f"{self.property} is in {_shown(named)}, and the goal counts {self.currency}")
        return min(self.most, value * self.times)


class Negative(Document):
    """What speaks against a decision: an event, or opting out of messages; it adds its `value` once.

    It counts within its own `window` after the decision, by default the goal's. A longer one delays no
    reward: what comes after the goal's window corrects it.
    """

    event: str | None = None
    where: str | None = None
    opt_out: Literal[True] | None = None
    window: Window | None = None
    value: Annotated[float, Field(lt=0)]

    @model_validator(mode="after")
    def _one_of_both(self) -> Negative:
        if (self.event is None) == (self.opt_out is None):
            raise ValueError("just one of event, opt_out is to be given")
        if self.where is not None and self.event is None:
            raise ValueError("where is a rule over an event; opting out has no properties")
        return self

    @property
    def name(self) -> str:
        """The outcome that it waits for."""
        return self.event or OPT_OUT


class Counting(NamedTuple):
    """One kind of outcome that a goal counts: its name, its rule and its window."""

    name: str
    where: str | None
    window: timedelta


def _said(value: object) -> str:
    return "property" if isinstance(value, dict | FromProperty) else "number"


# Only the one that is meant says what is wrong with it.
_Number = Annotated[float, Tag("number")]
_Worth = Annotated[_Number | Annotated[FromProperty, Tag("property")], Discriminator(_said)]


class Goal(Document):
    """The event that counts as success within `window` of the decision, and what a decision earns.

    `value` is what an outcome is worth, in units of reward: a number, or what a property of it says. Of
    several outcomes `aggregation` counts the first, the last, the one worth most, or the sum up to `most`.
    `default` is earned without any. `cost` is what an outcome says that the offer came to, in units of
    reward; it takes the place of what the offer's arms were expected to cost. `negatives` speak against.
    """

    event: str
    where: str | None = None
    window: Window
    value: _Worth = 1.0
    cost: FromProperty | None = None
    default: float = 0.0
    aggregation: Literal["first", "sum", "last", "max"] = "first"
    most: float | None = None
    negatives: Annotated[list[Negative], Field(max_length=16)] = []

    @model_validator(mode="after")
    def _bounded(self) -> Goal:
        if self.aggregation == "sum" and self.most is None:
            raise ValueError(
                "most: a sum needs a bound, in units of reward; what a user brings beyond it counts as it"
            )
        if self.aggregation != "sum" and self.most is not None:
            raise ValueError("most bounds a sum; a single value is bounded by value.most")
        if self.most is not None and self.most <= 0:
            raise ValueError(f"most must be above 0, not {self.most:g}")
        return self

    @property
    def countings(self) -> list[Counting]:
        """What is counted: success first, then what speaks against the decision, in its order."""
        success = Counting(self.event, self.where, self.window)
        against = [Counting(one.name, one.where, one.window or self.window) for one in self.negatives]
        return [success, *against]

    @property
    def longest(self) -> timedelta:
        """After which time nothing counts any more."""
        return max(one.window for one in self.countings)

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the most that a decision can earn, net of the cost that outcomes say."""
        worth = self.value.most if isinstance(self.value, FromProperty) else self.value
        best = worth if self.most is None else self.most
        least = min(self.default, best, 0.0 if isinstance(self.value, FromProperty) else worth)
        taken = sum(one.value for one in self.negatives) - (self.cost.most if self.cost else 0.0)
        return least + taken, max(self.default, best)

    def worth(self, properties: Mapping[str, Any]) -> float:
        """Return what one outcome is worth.

        Raises:
            ValueRefused: its property is no number to count.
        """
        return self.value.read(properties) if isinstance(self.value, FromProperty) else self.value

    def wheres(self) -> Iterator[tuple[str, str, str]]:
        """Yield its rules over events, as (field, event, rule)."""
        if self.where is not None:
            yield "goal.where", self.event, self.where
        for at, one in enumerate(self.negatives):
            if one.event is not None and one.where is not None:
                yield f"goal.negatives.{at}.where", one.event, one.where

    def read(self) -> Iterator[tuple[str, FromProperty]]:
        """Yield what it reads in properties of its event, with the field that says so."""
        if isinstance(self.value, FromProperty):
            yield "goal.value.property", self.value
        if self.cost is not None:
            yield "goal.cost.property", self.cost


def wrong_property(name: str, event: str, numbers: list[str]) -> str:
    """Say why a property can't be read as a number of an event, '' if it can."""
    if name in numbers:
        return ""
    return f"{event} has no number {name!r} in events.yaml{closest(name, numbers)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
