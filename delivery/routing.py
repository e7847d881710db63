"""Which facts of the ledger move an enrolment, as the causes they are: events, and words of the user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from audiences.consent.models import ConsentBody, ConsentState
from audiences.events import EventBody
from delivery.causes import Cause, Happened, OptedOut
from delivery.compiled import CompiledFlow
from delivery.models import Enrolment
from storage.ledger import Fact, Kind

# The name under which the ledger keeps how far they were routed.
READER = "delivery.events"
# The kinds of facts that are routed to enrolments.
ROUTED = (Kind.EVENT, Kind.CONSENT)


def fitting(of_facts: Sequence[Iterable[str]], runs: Mapping[str, int], limit: int) -> int:
    """Return how many facts, from the first one on, concern at most `limit` runs together; at least one.

    Args:
        of_facts: the users that each fact concerns.
        runs: how many runs a user is in.
    """
    seen: set[str] = set()
    total = 0
    for index, users in enumerate(of_facts):
        new = set(users) - seen
        total += sum(runs.get(user, 0) for user in new)
        if index and total > limit:
            return index
        seen |= new
    return len(of_facts)


def causes_of(enrolment: Enrolment, flow: CompiledFlow | None, facts: Sequence[Fact]) -> list[Cause]:
    """Return the causes from the first one on that can concern the enrolment, none when none can."""
    due_at = enrolment.due_at
    for index, fact in enumerate(facts):
        if (due_at is not None and due_at <= fact.occurred_at) or _concerns(enrolment, flow, fact):
            return [cause for one in facts[index:] if (cause := _cause(one)) is not None]
    return []


def _concerns(enrolment: Enrolment, flow: CompiledFlow | None, fact: Fact) -> bool:
    if fact.kind is Kind.CONSENT:
        return flow is not None and flow.opt_out is not None
    if fact.label == enrolment.waiting_for:
        return True
    return flow is not None and flow.goal is not None and flow.goal.event == fact.label


def _cause(fact: Fact) -> Cause | None:
    if fact.kind is Kind.CONSENT:
        if fact.label != ConsentState.DENIED.value:
            return None
        said: ConsentBody = fact.decode(ConsentBody)
        return OptedOut(said.purpose, fact.occurred_at)
    body: EventBody = fact.decode(EventBody)
    return Happened(fact.label, fact.occurred_at, body.properties)
