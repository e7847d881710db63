"""States of a flow that nobody comes to: every way there is by an exit that is never taken."""

from __future__ import annotations

from collections.abc import Iterator, Set

from playbooks.flow import State as FlowState
from playbooks.flow import WaitForEvent
from playbooks.lint.conditions import holds_of_no_arm
from playbooks.lint.finding import Code, Finding, Severity
from playbooks.lint.subject import Subject
from playbooks.models import Playbook

DEAD = Code(
    "dead-state",
    Severity.WARNING,
    "a state of a flow is only reached by an exit that is never taken",
)
CODES = (DEAD,)


def find(subject: Subject) -> Iterator[Finding]:
    """Yield states that nobody comes to."""
    for playbook in subject.draft.playbooks:
        for name in playbook.flow.states.keys() - reached(subject, playbook):
            yield DEAD.in_playbook(
                playbook.id,
                f"flow.states.{name}",
                "nobody comes to it: all that leads there is never true",
                "take it out, or correct the condition before it",
            )


def reached(subject: Subject, playbook: Playbook) -> Set[str]:
    """Return the states that somebody may come to."""
    frontier = [playbook.flow.start, *(target for _, target in playbook.flow.exits.ways())]
    seen = set(frontier)
    while frontier:
        for target in _taken(subject, playbook, playbook.flow.states[frontier.pop()]):
            if target not in seen:
                seen.add(target)
                frontier.append(target)
    return seen


def _taken(subject: Subject, playbook: Playbook, state: FlowState) -> Iterator[str]:
    """Yield the states that an exit leads to which may be taken."""
    if isinstance(state, WaitForEvent):
        yield state.on_timeout
        comes = not subject.events.never(state.event)
        if comes and not holds_of_no_arm(subject, playbook, state.event, state.where):
            yield state.on_event
    else:
        yield from (target for _, target in state.ways())
