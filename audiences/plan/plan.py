"""A tracking plan ready for use: takes an event, brings it into shape, or says why it does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import msgspec
from jsonschema_rs import Draft202012Validator

from audiences.events import Event
from audiences.plan.problems import said
from audiences.plan.shape import Shape

Mode = Literal["lenient", "strict"]
_TRACK = "track"
_TRAITS = frozenset({"identify", "group"})


@dataclass(frozen=True, slots=True)
class Planned:
    """What events of one name should look like: the schema, and the two things made of it."""

    event: str
    mode: Mode
    schema: Mapping[str, Any]
    shape: Shape
    validator: Draft202012Validator


class Verdict(StrEnum):
    """What a plan does with an event."""

    ACCEPTED = "accepted"
    COERCED = "coerced"
    QUARANTINED = "quarantined"


class Plan:
    """Schemas by event name. Never changes; see `audiences.intake.ports.TrackingPlan`."""

    def __init__(self, planned: Mapping[str, Planned], *, refuses_unknown: bool = False) -> None:
        """Take tracked events without a schema as they are, unless the plan `refuses_unknown`."""
        self.planned = planned
        self.refuses_unknown = refuses_unknown

    def check(self, event: Event) -> tuple[Event, str]:
        """Return the event in the shape the plan asks for, and what does not fit ('' if all does).

        An event that does not fit comes back as it was sent.
        """
        planned = self.planned.get(event.name)
        if planned is None:
            if self.refuses_unknown and event.type == _TRACK:
                return event, f"no event {event.name!r} is in the tracking plan"
            return event, ""
        sent = event.properties
        properties = planned.shape.fit(sent)
        if not planned.validator.is_valid(properties):
            root = "traits" if event.type in _TRAITS else "properties"
            return event, said(planned.validator.iter_errors(properties), root)
        if properties is sent:
            return event, ""
        return msgspec.structs.replace(event, properties=properties), ""

    def judge(self, event: Event) -> tuple[Verdict, Event, str]:
        """Return what the plan does with an event, the event as it would be kept, and the reason."""
        fitted, problem = self.check(event)
        if problem:
            return Verdict.QUARANTINED, event, problem
        return (Verdict.ACCEPTED if fitted is event else Verdict.COERCED), fitted, ""
