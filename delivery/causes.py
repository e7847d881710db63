"""What can move a run: its time is up, the user did or said something, somebody decided."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from playbooks.models import Arm


class Due(msgspec.Struct, frozen=True, gc=False):
    """The state's time is up."""


class Happened(msgspec.Struct, frozen=True, gc=False):
    """The user did something."""

    name: str
    at: datetime
    properties: Mapping[str, Any]


class OptedOut(msgspec.Struct, frozen=True, gc=False):
    """The user does not want to be written to for a purpose."""

    purpose: str
    at: datetime


class Drawn(msgspec.Struct, frozen=True, gc=False):
    """The policy was asked again; `arm` is None where nothing was drawn."""

    decision_id: str
    arm: Arm | None


class TaskDone(msgspec.Struct, frozen=True, gc=False):
    """A person did the task, with one of its results."""

    result: str
    at: datetime


class TakenOut(msgspec.Struct, frozen=True, gc=False):
    """An operator ends the run."""

    result: str
    at: datetime


class Moved(msgspec.Struct, frozen=True, gc=False):
    """The run goes on in a state of another version of its playbook."""

    state: str
    version: int
    at: datetime


Cause = Due | Happened | OptedOut | Drawn | TaskDone | TakenOut | Moved
