"""States in which a run waits: for a moment, for an event, for the policy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import time, timedelta
from typing import Literal

from pydantic import model_validator

from playbooks.document import Document
from playbooks.flow.times import Lasting, TimeOfDay, told

Way = tuple[str, str]
_MOMENTS = ("duration", "until_time", "until_date", "best_hour")


class UntilDate(Document):
    """A date of the user's, moved by `offset`, at a time of the user's day.

    `attribute` names a date or time that rules may speak of. Who has none, or one that is past, goes to
    `otherwise`.
    """

    attribute: str
    offset: timedelta = timedelta(0)
    at: TimeOfDay = time(9)
    otherwise: str


class BestHour(Document):
    """The hour of the day at which the user is most active; of whom too little is known, `otherwise`."""

    otherwise: TimeOfDay


class Wait(Document):
    """Wait until a moment, said in just one way.

    For a `duration`; until the user's clock next shows `until_time`; until a date of the user's; until the
    hour at which the user is most active.
    """

    kind: Literal["wait"]
    duration: Lasting | None = None
    until_time: TimeOfDay | None = None
    until_date: UntilDate | None = None
    best_hour: BestHour | None = None
    next: str

    @model_validator(mode="after")
    def _said_once(self) -> Wait:
        given = [name for name in _MOMENTS if getattr(self, name) is not None]
        if len(given) != 1:
            said = " and ".join(given) or "none of them"
            raise ValueError(f"just one of {', '.join(_MOMENTS)} is to be given, not {said}")
        return self

    def ways(self) -> Iterator[Way]:
        if self.duration is not None:
            yield f"after {told(self.duration)}", self.next
        elif self.until_time is not None:
            yield f"at {self.until_time:%H:%M}", self.next
        elif self.best_hour is not None:
            yield "at the best hour", self.next
        elif self.until_date is not None:
            yield f"on {self.until_date.attribute}", self.next
            yield "no such date", self.until_date.otherwise


class WaitForEvent(Document):
    """Wait for an event of the user, at most `timeout`; `where` is a rule over `event.*` and `arm.*`."""

    kind: Literal["wait_for_event"]
    event: str
    where: str | None = None
    timeout: Lasting
    on_event: str
    on_timeout: str

    def ways(self) -> Iterator[Way]:
        yield self.event, self.on_event
        yield f"after {told(self.timeout)}", self.on_timeout


class DecideAgain(Document):
    """Ask the policy anew which variant of the playbook fits, as things are now.

    The run goes on with what is drawn; if that is "do nothing", with `on_nothing`.
    """

    kind: Literal["decide"]
    next: str
    on_nothing: str

    def ways(self) -> Iterator[Way]:
        yield "a variant", self.next
        yield "nothing", self.on_nothing
