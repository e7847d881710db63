"""Flow types: a playbook's flow is data, a state machine that delivery/ interprets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class _State(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Issue(_State):
    """Issue the variant's offer into the user's wallet."""

    kind: Literal["issue"]
    next: str

    def exits(self) -> Iterator[str]:
        yield self.next


class Send(_State):
    """Send the variant's content on the variant's channel."""

    kind: Literal["send"]
    next: str

    def exits(self) -> Iterator[str]:
        yield self.next


class Wait(_State):
    """Wait for a duration (ISO 8601, for example `P3D`)."""

    kind: Literal["wait"]
    duration: timedelta
    next: str

    @field_validator("duration")
    @classmethod
    def _positive(cls, value: timedelta) -> timedelta:
        return _positive(value)

    def exits(self) -> Iterator[str]:
        yield self.next


class WaitForEvent(_State):
    """Wait for an event of the user, at most `timeout`; `where` is a rule over `event.*` and `arm.*`."""

    kind: Literal["wait_for_event"]
    event: str
    where: str | None = None
    timeout: timedelta
    on_event: str
    on_timeout: str

    @field_validator("timeout")
    @classmethod
    def _positive(cls, value: timedelta) -> timedelta:
        return _positive(value)

    def exits(self) -> Iterator[str]:
        yield self.on_event
        yield self.on_timeout


class Tag(_State):
    """Put a tag on the user, for a while or for good."""

    kind: Literal["tag"]
    tag: str
    expires_after: timedelta | None = None
    next: str

    def exits(self) -> Iterator[str]:
        yield self.next


class GoalReached(_State):
    """Note that the goal was reached; the issued offer counts as used."""

    kind: Literal["goal"]
    next: str

    def exits(self) -> Iterator[str]:
        yield self.next


class End(_State):
    """The run is over, with a result for the reports."""

    kind: Literal["end"]
    result: str

    def exits(self) -> Iterator[str]:
        yield from ()


State = Annotated[Issue | Send | Wait | WaitForEvent | Tag | GoalReached | End, Field(discriminator="kind")]


class Flow(BaseModel):
    """States by name and the one to start in. Every exit exists, every state is reached, every path ends."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: str
    states: dict[str, State] = Field(min_length=1)

    @model_validator(mode="after")
    def _sound(self) -> Flow:
        if self.start not in self.states:
            raise ValueError(f"the start state {self.start!r} is not among the states {sorted(self.states)}")
        for name, state in self.states.items():
            for target in state.exits():
                if target not in self.states:
                    raise ValueError(f"state {name!r} leads to {target!r}, which does not exist")
        reached = self._reachable({self.start}, {n: set(s.exits()) for n, s in self.states.items()})
        if dead := set(self.states) - reached:
            raise ValueError(f"no path leads to the states {sorted(dead)}")
        backwards: dict[str, set[str]] = {name: set() for name in self.states}
        for name, state in self.states.items():
            for target in state.exits():
                backwards[target].add(name)
        ends = {name for name, state in self.states.items() if isinstance(state, End)}
        if stuck := set(self.states) - self._reachable(ends, backwards):
            raise ValueError(f"no path from the states {sorted(stuck)} comes to an end")
        return self

    @staticmethod
    def _reachable(seeds: set[str], edges: dict[str, set[str]]) -> set[str]:
        seen, frontier = set(seeds), list(seeds)
        while frontier:
            for target in edges[frontier.pop()] - seen:
                seen.add(target)
                frontier.append(target)
        return seen


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("a wait must be longer than nothing; write for example P3D or PT2H")
    return value
