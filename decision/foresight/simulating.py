"""What a flow would do with a user: nothing is kept, nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from audiences.rules import Schema
from decision.errors import BadRequest
from delivery.people.hours import Known
from delivery.plans import Plan
from delivery.simulator import Given, Line, simulate
from delivery.view import Strangers, Views
from playbooks.library.service import LibraryService
from playbooks.suggesting import closest
from storage.clock import Clock

Text = Annotated[str, Field(min_length=1, max_length=255)]
_ONE: tuple[Literal["event", "task", "opt_out"], ...] = ("event", "task", "opt_out")


class GivenBody(BaseModel):
    """Something that happens meanwhile: just one of an event, the result of a task, an opt-out."""

    model_config = ConfigDict(extra="forbid")

    at: AwareDatetime
    event: Text | None = None
    properties: Mapping[str, Any] = {}
    task: Text | None = None
    opt_out: Text | None = None

    @model_validator(mode="after")
    def _just_one(self) -> GivenBody:
        given = [name for name in _ONE if getattr(self, name) is not None]
        if len(given) != 1:
            said = " and ".join(given) or "none of them"
            raise ValueError(f"just one of {', '.join(_ONE)} is to be given, not {said}")
        return self

    def given(self) -> Given:
        """Return it as a simulation takes it."""
        return Given(**self.model_dump())


class Simulated(msgspec.Struct, frozen=True):
    """The timeline of a run that never was; `zone` is where the user lives."""

    playbook: str
    shown: str
    user_id: str
    variant: str
    zone: str
    lines: Sequence[Line]


class Simulations:
    """Runs flows of the library for somebody."""

    def __init__(
        self,
        library: LibraryService,
        clock: Clock,
        schema: Schema,
        views: Views | None = None,
        canonical: Callable[[str], str] = str,
        hours: Known | None = None,
    ) -> None:
        """Without `views` everybody is a stranger. `canonical` finds a user, or says why not.

        `hours` say when people work.
        """
        self._library, self._clock, self._schema, self._hours = library, clock, schema, hours
        self._views, self._canonical = views or Strangers(), canonical

    def simulate(
        self,
        playbook: str,
        side: str,
        user_id: str,
        at: datetime | None = None,
        variant: str | None = None,
        given: Sequence[GivenBody] = (),
    ) -> Simulated:
        """Return what the flow of a version would do.

        Args:
            side: `draft`, `served`, or the number of a version.
            at: when the run begins; None: now.
            variant: name of the variant that was drawn; None: the first one.
            given: what happens meanwhile.

        Raises:
            UnknownPlaybook, UnknownUser: there is none.
            BadRequest: there is no such variant.
            FlowBroken: the flow can't be run.
        """
        body = self._library.side(playbook, side)
        arms = {arm.name: arm for arm in body.arms}
        name = variant or next(iter(arms))
        if name not in arms:
            raise BadRequest(f"the playbook {playbook!r} has no variant {name!r}{closest(name, arms)}")
        user, now = self._canonical(user_id), self._clock.now()
        plan = Plan.of(body, int(side) if side.isdigit() else 0, self._schema, self._hours)
        view = self._views.read([user], now)[user]
        lines = simulate(plan, arms[name], user, at or now, view, [one.given() for one in given])
        return Simulated(playbook, side, user, name, view.zone.key, lines)
