"""What controls are, and what each of them stops: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec


class Scope(StrEnum):
    """What is stopped."""

    EVERYTHING = "everything"
    PLAYBOOK = "playbook"
    CHANNEL = "channel"
    USER = "user"


class Mode(StrEnum):
    """How it is stopped.

    `pause`: nothing goes out and no run goes on; all waits until it is resumed. `drain`: nothing new begins,
    what is under way goes on to its end; on a channel, what is queued goes out and what is queued later
    waits. `resuming`: resumed, while what waited is put back in its place. `off`: nothing is stopped.
    """

    PAUSE = "pause"
    DRAIN = "drain"
    RESUMING = "resuming"
    OFF = "off"


STOPPING: Final = (Mode.PAUSE, Mode.DRAIN)


class Control(msgspec.Struct, frozen=True):
    """A stop, and who wants it since when and why; `target` is empty for everything."""

    scope: Scope
    target: str
    mode: Mode
    by: str
    why: str
    at: datetime

    @property
    def key(self) -> str:
        """What waits because of it is found by this."""
        return key_of(self.scope, self.target)


class ControlChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of the fact that every pause, drain and resume leaves; the user of a control is the fact's."""

    scope: str
    target: str
    mode: str
    by: str
    why: str = ""
    evidence: object = None


def key_of(scope: Scope, target: str) -> str:
    """Return what a control is known by."""
    return f"{scope.value}:{target}"


def rule_of(control: Control) -> str:
    """Return the id under which a control suppresses; it does not name the user."""
    if control.scope in (Scope.EVERYTHING, Scope.USER):
        return f"control.{control.scope.value}"
    return f"control.{control.scope.value}.{control.target}"


class Controls:
    """The controls that hold at a moment."""

    __slots__ = ("_by_key",)

    def __init__(self, controls: Iterable[Control] = ()) -> None:
        self._by_key = {one.key: one for one in controls if one.mode in STOPPING}

    def __bool__(self) -> bool:
        return bool(self._by_key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Controls) and self._by_key == other._by_key

    def __hash__(self) -> int:
        return hash(frozenset(self._by_key))

    @property
    def users(self) -> set[str]:
        """The users of whom all is stopped."""
        return {one.target for one in self._by_key.values() if one.scope is Scope.USER}

    def everything(self) -> Control | None:
        """Return what pauses everything, if anything does."""
        one = self._by_key.get(key_of(Scope.EVERYTHING, ""))
        return one if one is not None and one.mode is Mode.PAUSE else None

    def of_decision(self, playbook: str, user_id: str) -> Control | None:
        """Return what keeps a playbook from being decided for a user: paused, or drained."""
        return next(self._found(playbook, user_id), None)

    def of_run(self, playbook: str, user_id: str) -> Control | None:
        """Return what keeps a run from going on."""
        return next((one for one in self._found(playbook, user_id) if one.mode is Mode.PAUSE), None)

    def of_send(self, playbook: str, user_id: str, channel: str, queued_at: datetime) -> Control | None:
        """Return what keeps a message from going out: a pause, or a drain of its channel from before."""
        stops = self.of_run(playbook, user_id)
        if stops is None and (one := self._by_key.get(key_of(Scope.CHANNEL, channel))) is not None:
            stops = one if one.mode is Mode.PAUSE or queued_at >= one.at else None
        return stops

    def _found(self, playbook: str, user_id: str) -> Iterator[Control]:
        for key in (
            key_of(Scope.EVERYTHING, ""),
            key_of(Scope.PLAYBOOK, playbook),
            key_of(Scope.USER, user_id),
        ):
            if (one := self._by_key.get(key)) is not None:
                yield one


NONE: Final = Controls()
