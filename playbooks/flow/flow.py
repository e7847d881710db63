"""A flow: states by name, where it starts, and what ends it from any state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from playbooks.document import Document, Name
from playbooks.flow.states import End, State, Waiting
from playbooks.flow.times import Lasting, told
from playbooks.flow.waits import DecideAgain, Wait, Way
from playbooks.suggesting import closest

Place = tuple[str, ...]


class OnGoal(Document):
    """The event of the playbook's goal ends the run."""

    next: str


class OnRule(Document):
    """A rule over the user ends the run; it is asked whenever the run would go on."""

    when: str
    next: str


class OnOptOut(Document):
    """The user's denial ends the run: of any purpose, or of one of `purposes`."""

    purposes: Annotated[list[Name], Field(min_length=1)] | None = None
    next: str


class OnExpiry(Document):
    """The run ends a while after it began."""

    after: Lasting
    next: str


class Exits(Document):
    """What ends a run from whatever state it is in. From each `next` the way to an end has no wait."""

    goal: OnGoal | None = None
    rule: OnRule | None = None
    opt_out: OnOptOut | None = None
    expiry: OnExpiry | None = None

    def ways(self) -> Iterator[Way]:
        if self.goal is not None:
            yield "goal", self.goal.next
        if self.rule is not None:
            yield self.rule.when, self.rule.next
        if self.opt_out is not None:
            yield "opt-out", self.opt_out.next
        if self.expiry is not None:
            yield f"{told(self.expiry.after)} after it began", self.expiry.next


class Reentry(Document):
    """When a user may begin a run again who had one; without it, with every decision.

    `never`; `after_end`, once no run is under way; `after_gap`, once the last has been over for `gap`;
    `per_key`: a run beside others that have another value of `key`: the `variant`, the `offer`, or an
    attribute of the variant.
    """

    rule: Literal["never", "after_end", "after_gap", "per_key"]
    gap: Lasting | None = None
    key: Name | None = None

    @model_validator(mode="after")
    def _fitting(self) -> Reentry:
        if (self.gap is not None) != (self.rule == "after_gap"):
            raise ValueError("a `gap` is given with the rule after_gap, and with no other")
        if self.key is not None and self.rule != "per_key":
            raise ValueError("a `key` is given with the rule per_key only")
        return self


class Flow(Document):
    """States by name and the one to start in. Every exit exists, every state is reached, every path ends."""

    start: str
    states: dict[Annotated[str, Field(min_length=1, max_length=64)], State] = Field(min_length=1)
    exits: Exits = Exits()
    reentry: Reentry | None = None

    @model_validator(mode="after")
    def _sound(self) -> Flow:
        if wrong := list(self._lost()) or list(self._unsound()):
            message = "; ".join(said for _, said in wrong)
            # Told by `found_in` each at its own place.
            raise PydanticCustomError("flow", "{message}", {"message": message, "places": wrong})
        return self

    def _lost(self) -> Iterator[tuple[Place, str]]:
        """Yield the names of states that do not exist."""
        if self.start not in self.states:
            yield ("start",), f"there is no state {self.start!r}{closest(self.start, self.states)}"
        for place, holder in self._holders():
            for field, target in fields_to_states(holder):
                if target not in self.states:
                    hint = closest(target, self.states)
                    yield (*place, *field), f"there is no state {target!r}{hint}"

    def _holders(self) -> Iterator[tuple[Place, Document]]:
        for name, state in self.states.items():
            yield ("states", name), state
        for name in Exits.model_fields:
            if (found := getattr(self.exits, name)) is not None:
                yield ("exits", name), found

    def _unsound(self) -> Iterator[tuple[Place, str]]:
        forwards = {name: {target for _, target in state.ways()} for name, state in self.states.items()}
        leaving = dict(self.exits.ways())
        reached = reachable({self.start, *leaving.values()}, forwards)
        for name in self.states.keys() - reached:
            yield ("states", name), f"no path leads to the state {name!r}"
        backwards: dict[str, set[str]] = {name: set() for name in self.states}
        for name, targets in forwards.items():
            for target in targets:
                backwards[target].add(name)
        ends = {name for name, state in self.states.items() if isinstance(state, End)}
        for name in self.states.keys() - reachable(ends, backwards):
            yield ("states", name), f"no path from the state {name!r} comes to an end"
        for name in self._circles(forwards):
            yield (
                ("states", name),
                f"the state {name!r} comes back to itself without a wait between; put one in",
            )
        for name in Exits.model_fields:
            way = getattr(self.exits, name)
            if way is None:
                continue
            for state in sorted(reachable({way.next}, forwards)):
                if isinstance(self.states[state], Waiting):
                    yield (
                        ("exits", name, "next"),
                        f"the way from {way.next!r} waits in {state!r}; an exit leads to an end at once",
                    )

    def _circles(self, forwards: Mapping[str, set[str]]) -> list[str]:
        """Return the states that come back to themselves past nothing that takes time."""
        at_once = {name: _left_at_once(self.states[name], targets) for name, targets in forwards.items()}
        return sorted(name for name in at_once if name in reachable(at_once[name], at_once))


def _left_at_once(state: State, targets: set[str]) -> set[str]:
    if isinstance(state, Wait) and state.until_date is not None:
        return {state.until_date.otherwise}
    return set() if isinstance(state, Waiting) and not isinstance(state, DecideAgain) else targets


def fields_to_states(holder: Document) -> Iterator[tuple[Place, str]]:
    """Yield where a state or an exit names other states, and which."""
    for field in ("next", "on_event", "on_timeout", "on_overdue", "on_nothing", "then", "otherwise"):
        if isinstance(target := getattr(holder, field, None), str):
            yield (field,), target
    until = getattr(holder, "until_date", None)
    if until is not None:
        yield ("until_date", "otherwise"), until.otherwise
    for result, target in getattr(holder, "results", {}).items():
        yield ("results", result), target
    for target in getattr(holder, "shares", ()):
        yield ("shares", target), target


def reachable(seeds: set[str], edges: Mapping[str, set[str]]) -> set[str]:
    """Return all that a path along edges leads to, the seeds included."""
    seen, frontier = set(seeds), list(seeds)
    while frontier:
        for target in edges[frontier.pop()] - seen:
            seen.add(target)
            frontier.append(target)
    return seen
