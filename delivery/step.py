"""What a turn of the executor did to one enrolment."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec

from delivery.models import Effect, Enrolment, Status
from delivery.plans import Plan
from delivery.view import UTC


class Step(msgspec.Struct, frozen=True, gc=False):
    """An enrolment as it is now, the plan that brought it there, and the effects on the way.

    `redrawn`: it has another decision than before, or another version. `zone` is where the user lives,
    `done`: a person did its task.
    """

    enrolment: Enrolment
    plan: Plan | None
    effects: Sequence[Effect]
    redrawn: bool = False
    zone: ZoneInfo = UTC
    done: bool = False


def stuck(enrolment: Enrolment, reason: str) -> Enrolment:
    """Return the enrolment set aside for a person; nothing wakes it any more."""
    return msgspec.structs.replace(
        enrolment, due_at=None, waiting_for=None, status=Status.STUCK, result=reason
    )
