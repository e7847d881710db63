"""Whether what flows name is there: features in rules, dates, scores, channels."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from audiences.rules import RuleError, Schema, Type, parse
from delivery.people.staff import FILE, Staff
from playbooks import flow as states
from playbooks.flow import Flow
from playbooks.suggesting import closest

# What a date of the user's may be kept as (see `audiences.triggers.dates.day_of`).
_DATES = (Type.TIMESTAMP, Type.TEXT)


@dataclass(frozen=True, slots=True)
class InFlows:
    """What flows may name: `schema` is what their rules may speak of, audiences aside; `staff` does tasks."""

    schema: Schema
    scores: Collection[str]
    staff: Staff = field(default_factory=Staff)


def unfit(
    flow: Flow, known: InFlows, audiences: Collection[str], channels: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield (field, problem) of what a flow names that is not there."""
    schema, scores = known.schema.with_audiences(audiences), known.scores
    for name, state in flow.states.items():
        place = f"flow.states.{name}"
        match state:
            case states.Branch():
                yield from _rule(f"{place}.rule", state.rule, schema)
            case states.Score() if state.score not in scores:
                yield f"{place}.score", f"there is no score {state.score!r}{closest(state.score, scores)}"
            case states.Send():
                yield from _channels(place, state, channels)
            case states.Task():
                yield from _task(place, state, known.staff)
            case states.Wait() if state.until_date is not None:
                yield from _date(f"{place}.until_date.attribute", state.until_date.attribute, schema)
    if flow.exits.rule is not None:
        yield from _rule("flow.exits.rule.when", flow.exits.rule.when, schema)


def _task(place: str, state: states.Task, staff: Staff) -> Iterator[tuple[str, str]]:
    names = staff.names
    if names and state.assignee and state.assignee not in names:
        yield (
            f"{place}.assignee",
            f"{FILE} has no person or team {state.assignee!r}{closest(state.assignee, names)}",
        )
    elif state.assign is not None and state.assignee not in names:
        yield (
            f"{place}.assign",
            f"tasks are dealt to people of {FILE}: name a person or team of it in `assignee`",
        )
    if state.assign == "owner" and staff.owners.is_silent:
        yield f"{place}.assign", f"{FILE} says nothing of owners: name the trait in `owners`"
    if state.working_hours and not (staff.hours.get(state.assignee) or staff.hours.get("")):
        yield (
            f"{place}.working_hours",
            f"nobody has said when {state.assignee!r} works: write `hours` in {FILE}",
        )
    for index, step in enumerate(state.escalate):
        if step.to is not None and step.to not in names:
            yield (
                f"{place}.escalate.{index}.to",
                f"{FILE} has no person or team {step.to!r}{closest(step.to, names)}",
            )


def _channels(place: str, state: states.Send, channels: Collection[str]) -> Iterator[tuple[str, str]]:
    named = [(f"{place}.among.{index}", one) for index, one in enumerate(state.among)]
    if state.channel is not None and not state.among:
        named.append((f"{place}.channel", state.channel))
    for where, channel in named:
        if channel not in channels:
            yield where, f"there is no channel {channel!r}{closest(channel, channels)}"


def _rule(field: str, text: str, schema: Schema) -> Iterator[tuple[str, str]]:
    try:
        parse(text, schema)
    except RuleError as error:
        yield field, str(error)


def _date(field: str, attribute: str, schema: Schema) -> Iterator[tuple[str, str]]:
    dates = [name for name, kind in schema.names.items() if kind in _DATES]
    if attribute not in dates:
        yield field, f"there is no date {attribute!r} among what rules may name{closest(attribute, dates)}"
