"""Which facts are causes of which triggers; pure but for reading what else the user did."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection

from audiences.events import EventBody
from audiences.properties import PropertyRule
from audiences.scores.facts import GradeChange
from audiences.selection.telling import Membership
from audiences.stages.facts import StageChange
from audiences.triggers import repository
from audiences.triggers.definitions import OnAudience, OnEvent, OnGrade, OnStage, Trigger
from audiences.triggers.firing import Cause
from audiences.triggers.repository import Used, Wait
from storage.ledger import Fact, Kind

KINDS = (Kind.EVENT, Kind.AUDIENCE, Kind.SCORE, Kind.STAGE)
_ANSWERS = (".accepted", ".rejected")


def is_cause(trigger: Trigger, fact: Fact) -> bool:
    """Whether a fact is what a trigger is on; what happened quietly is not."""
    match trigger.spec.when:
        case OnEvent(event=name):
            return fact.kind is Kind.EVENT and fact.label == name and holds(trigger.where, fact)
        case OnAudience() as on:
            return fact.kind is Kind.AUDIENCE and _moved(on, fact)
        case OnGrade() as on:
            return fact.kind is Kind.SCORE and not fact.label.endswith(_ANSWERS) and _graded(on, fact)
        case OnStage(lifecycle=lifecycle, stage=stage):
            label = f"{lifecycle}.{stage}"
            return fact.kind is Kind.STAGE and fact.label == label and not fact.decode(StageChange).quiet
        case _:
            return False


def holds(where: PropertyRule | None, fact: Fact) -> bool:
    """Whether a condition holds for the event of a fact."""
    return where is None or where.holds(fact.decode(EventBody).properties, fact.occurred_at)


def counted(
    connection: Connection,
    trigger: Trigger,
    on: OnEvent,
    profiles: Sequence[str],
    facts: Sequence[Fact],
    used: Used | None,
) -> list[Fact]:
    """Return the events that complete a count.

    A count is complete with `count` events, the first and last of them at most `within` apart, none of them
    used by an earlier count. `facts` are new events of a person; a late one completes a count that events
    after it are part of.
    """
    assert on.within is not None  # noqa: S101 - the definition saw to it
    # One that is exactly `within` earlier belongs to the count; the query leaves its start out.
    start = min(fact.occurred_at for fact in facts) - on.within - timedelta(microseconds=1)
    end = max(fact.occurred_at for fact in facts) + on.within
    near = [
        fact
        for fact in repository.events_of(connection, profiles, on.event, start, end)
        if not (used is not None and used.up(fact)) and holds(trigger.where, fact)
    ]
    complete: list[Fact] = []
    run: list[Fact] = []
    for fact in near:
        run = [one for one in run if fact.occurred_at - one.occurred_at <= on.within] + [fact]
        if len(run) >= on.count:
            complete.append(fact)
            run = []
    return complete


def stayed_away(
    connection: Connection, trigger: Trigger, on: OnEvent, profiles: Sequence[str], wait: Wait
) -> bool:
    """Whether nothing of what must stay away happened in the time after the event of a wait."""
    assert on.unless is not None  # noqa: S101 - there is a wait
    happened = repository.events_of(connection, profiles, on.unless.event, wait.caused_at, wait.due_at)
    return not any(holds(trigger.unless, fact) for fact in happened)


def cause_of(user_id: str, fact: Fact) -> Cause:
    """Return the cause that a fact is."""
    return Cause(user_id, fact.id, fact.occurred_at, Used(fact.occurred_at, fact.seq))


def _moved(on: OnAudience, fact: Fact) -> bool:
    membership: Membership = fact.decode(Membership)
    if membership.quiet:
        return False
    return membership.audience == (on.entered if membership.entered else on.left)


def _graded(on: OnGrade, fact: Fact) -> bool:
    change: GradeChange = fact.decode(GradeChange)
    if change.quiet or change.score != on.score or change.after != on.grade:
        return False
    return on.way == "either" or (on.way == "up") == change.up
