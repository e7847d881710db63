"""Tasks for people: who gets one, when it is due, who is told when it is not done."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from playbooks.document import Document, Name
from playbooks.flow.addresses import WebhookUrl
from playbooks.flow.times import Lasting, told
from playbooks.flow.waits import Way

_AT_ONCE = timedelta(0)


class Escalation(Document):
    """Who gets a task that is undone after a `share` of the time until it is due, or `overdue_by` later.

    Without `to` that is the supervisor of whoever has it. `tell` is told of it by a signed request.
    """

    share: Annotated[float, Field(gt=0, le=1)] | None = None
    overdue_by: Lasting | None = None
    to: Name | None = None
    tell: WebhookUrl | None = None

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        if (self.share is None) == (self.overdue_by is None):
            raise ValueError("say when in one way: a `share` of the time until it is due, or `overdue_by`")
        return self

    @property
    def order(self) -> tuple[float, timedelta]:
        """Of two escalations the one with the lesser comes first."""
        return (1.0, self.overdue_by) if self.overdue_by is not None else (self.share or 0.0, _AT_ONCE)


class Task(Document):
    """Give a person something to do, due in a while, and wait for the result.

    `results` are what the task can come to, each with the state that follows. `assign` says who of the
    assignee gets it. Undone at its due time and a `grace`, the run goes on with `on_overdue`, and the task
    is left for good. With `working_hours` the time until it is due runs in the assignee's hours only. `tell`
    is told of the task by a signed request.
    """

    kind: Literal["task"]
    title: Annotated[str, Field(min_length=1, max_length=200)]
    assignee: Annotated[str, Field(max_length=200)] = ""
    assign: Literal["owner", "round_robin", "load"] | None = None
    due_in: Lasting
    working_hours: bool = False
    grace: Lasting | None = None
    escalate: Annotated[tuple[Escalation, ...], Field(max_length=5)] = ()
    tell: WebhookUrl | None = None
    results: Annotated[dict[Name, str], Field(min_length=1, max_length=20)]
    on_overdue: str

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        orders = [one.order for one in self.escalate]
        if any(later <= earlier for earlier, later in pairwise(orders)):
            raise ValueError("`escalate` goes from the first to the last: write its steps in that order")
        if orders and orders[-1] >= (1.0, self.grace or _AT_ONCE):
            raise ValueError(
                "the run goes on before the last step of `escalate`: give the task a `grace` that is longer"
            )
        return self

    def ways(self) -> Iterator[Way]:
        yield from self.results.items()
        working = " of working hours" if self.working_hours else ""
        grace = f" and {told(self.grace)}" if self.grace else ""
        yield f"overdue after {told(self.due_in)}{working}{grace}", self.on_overdue
