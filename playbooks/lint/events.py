"""Events that nothing emits: goals that are never reached, waits that only ever time out."""

from __future__ import annotations

from collections.abc import Iterator

from playbooks.flow import WaitForEvent
from playbooks.lint.conditions import arms_never, arms_of
from playbooks.lint.finding import Code, Finding, Severity
from playbooks.lint.subject import Subject
from playbooks.models import Playbook

GOAL = Code(
    "goal-never-emitted",
    Severity.WARNING,
    "an event of the goal is in no plan and was never seen, so nothing ever counts",
)
UNREACHED = Code(
    "goal-never-reached",
    Severity.ERROR,
    "the goal's condition can't be true of any event, for some of the variants or for all",
)
WAIT = Code(
    "event-never-emitted",
    Severity.WARNING,
    "a flow waits for an event that is in no plan and was never seen, or for a condition that can't be true",
)
CODES = (GOAL, UNREACHED, WAIT)

_SPELLING = "check the spelling, or add it to the tracking plan before it is sent"


def find(subject: Subject) -> Iterator[Finding]:
    """Yield goals that nothing reaches and waits that nothing ends."""
    for playbook in subject.draft.playbooks:
        yield from _goal(subject, playbook)
        yield from _waits(subject, playbook)


def _goal(subject: Subject, playbook: Playbook) -> Iterator[Finding]:
    goal = playbook.goal
    named = [("goal.event", goal.event)]
    named += [(f"goal.negatives.{at}.event", one.event) for at, one in enumerate(goal.negatives) if one.event]
    for field, event in named:
        if why := subject.events.never(event):
            yield GOAL.in_playbook(playbook.id, field, f"{event!r} {why}", _SPELLING)
    arms = arms_of(subject, playbook)
    if unreached := arms_never(subject, arms, goal.event, goal.where):
        every = len(unreached) == len(arms)
        whom = "any variant" if every else ", ".join(arm.name for arm in unreached[:5])
        more = f" and {len(unreached) - 5} more" if not every and len(unreached) > 5 else ""
        yield UNREACHED.in_playbook(
            playbook.id,
            "goal.where",
            f"{goal.where!r} can't be true for {whom}{more}",
            "give the offers the attribute it asks for, or change the condition",
        )


def _waits(subject: Subject, playbook: Playbook) -> Iterator[Finding]:
    arms = arms_of(subject, playbook)
    for name, state in playbook.flow.states.items():
        if not isinstance(state, WaitForEvent):
            continue
        if why := subject.events.never(state.event):
            yield WAIT.in_playbook(
                playbook.id, f"flow.states.{name}.event", f"{state.event!r} {why}", _SPELLING
            )
        elif arms and len(arms_never(subject, arms, state.event, state.where)) == len(arms):
            yield WAIT.in_playbook(
                playbook.id,
                f"flow.states.{name}.where",
                f"{state.where!r} can't be true for any variant",
                "change the condition, or wait without it",
            )
