"""What events give: the points of each line, the grades made at once, whom they concern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from audiences.events import EventBody
from audiences.identity.models import JoinBody
from audiences.identity.people import People
from audiences.scores.definitions import Score
from audiences.scores.grading import AtOnce
from audiences.scores.points import Grant
from storage.ledger import Fact, Kind


class Taken(NamedTuple):
    """Grants by profile, grades made at once by person, and each person concerned.

    `touched` says of a person whether nothing but history concerned it.
    """

    grants: list[tuple[str, Grant]]
    at_once: Mapping[str, AtOnce]
    touched: Mapping[str, bool]


def take(score: Score, facts: Sequence[Fact], people: People, quiet_through: int) -> Taken:
    """Return what facts about events give in one score; those up to `quiet_through` are history to it."""
    grants: list[tuple[str, Grant]] = []
    at_once: dict[str, AtOnce] = {}
    touched: dict[str, bool] = {}
    for fact in facts:
        if fact.kind is Kind.IDENTITY:
            # Profiles were joined or parted: each of them may stand elsewhere now.
            body: JoinBody = fact.decode(JoinBody)
            for profile in (body.profile, body.into):
                for one in (profile, people.canonical(profile)):
                    touched[one] = touched.get(one, True) and fact.seq <= quiet_through
            continue
        if fact.user_id is None or not (fact.label in score.by_event or fact.label in score.at_once):
            continue
        properties = fact.decode(EventBody).properties
        given = [
            Grant(line.spec.id, fact.id, fact.occurred_at, line.spec.points)
            for line in score.by_event.get(fact.label, ())
            if line.where is None or line.where.holds(properties, fact.occurred_at)
        ]
        ranks = [
            one.rank
            for one in score.at_once.get(fact.label, ())
            if one.where is None or one.where.holds(properties, fact.occurred_at)
        ]
        if not given and not ranks:
            continue
        person = people.canonical(fact.user_id)
        grants += [(fact.user_id, grant) for grant in given]
        for rank in ranks:
            if person not in at_once or rank >= at_once[person].rank:
                at_once[person] = AtOnce(rank, fact.occurred_at)
        quiet = fact.kind is Kind.PAST_EVENT or fact.seq <= quiet_through
        touched[person] = touched.get(person, True) and quiet
    return Taken(grants, at_once, touched)
