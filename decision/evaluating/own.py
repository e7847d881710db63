"""The service's own decisions, as an evaluation takes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from learning import version_repository
from learning.challengers import estimate_repository, repository
from learning.challengers.estimates import estimate_of
from learning.challengers.record import record_of
from learning.errors import UnknownCandidate
from learning.evaluation import Candidate, Evaluation, Log
from learning.evaluation.candidates import LOGGED
from learning.rounds import see_both
from storage import ledger
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind
from storage.writer import Lane

# What changes of it are called in a picture, by the label of the fact; the name of the thing is in the field.
_MARKED = {"policy_published": "version", "playbook": "playbook", "audience": "audience"}


class Judged(NamedTuple):
    """Decisions as a candidate and a baseline would have made them; None: as they were made."""

    log: Log
    candidate: Candidate
    baseline: Candidate | None


class Own(NamedTuple):
    """What is judged, and what has to be known to score the judgement later.

    `policy` is the candidate's, `against` the baseline's: who drew most decisions, where none was named.
    `through` is the newest reward there was.
    """

    judged: Judged
    policy: str
    against: str
    through: int


def look(
    database: Database,
    policy: str | None,
    baseline: str | None,
    *,
    after: int | None = None,
    until: int | None = None,
) -> Own:
    """Look at decisions whose rewards are known as a policy version would have made them.

    Args:
        policy: a version, `next_category@7`; None is nobody and refused with the way out.
        baseline: another version; None or `logged`: the policies that made the decisions.
        after, until: only rewards with after < seq <= until.

    Raises:
        UnknownCandidate: no policy is named.
        UnknownVersion: there is no such version.
        SeenInTraining, InvalidRounds: as `see_both`.
    """
    if policy is None:
        raise UnknownCandidate(
            "name the policy version to evaluate, as next_category@7: decisions name theirs, and each "
            "training publishes one"
        )
    with database.read() as connection:
        through = repository.newest_reward(connection)
        candidate = version_repository.version(connection, policy)
        other = None if baseline in (None, LOGGED) else version_repository.version(connection, str(baseline))
    seen, seen_baseline = see_both(database, candidate, other, after=after, until=until)
    against = max(seen.drawers, key=lambda name: seen.drawers[name]) if other is None else other.policy
    return Own(Judged(seen.log, seen.candidate, seen_baseline), candidate.policy, against, through)


def claimed(database: Database, own: Own, found: Evaluation, now: datetime) -> Evaluation:
    """Return an evaluation with what became of the claims made before it, and keep it as a claim itself."""
    with database.read() as connection:
        says = record_of(repository.claims(connection), estimate_repository.newest(connection)).says
    claim = estimate_of(found, own.policy, own.against, own.through, new_id(now), now)
    if claim is not None:
        database.write(lambda connection: estimate_repository.keep(connection, claim), lane=Lane.REQUEST)
    return msgspec.structs.replace(found, record=says)


def changes(database: Database) -> Sequence[tuple[datetime, str]]:
    """Return when which policy, playbook or audience changed, for marks in a picture."""
    position = 0
    found: list[tuple[datetime, str]] = []
    while True:
        with database.read() as connection:
            page = ledger.read_after(connection, position, kind=Kind.CHANGE, labels=list(_MARKED))
        if not page:
            return found
        for fact in page:
            body: dict[str, Any] = fact.decode(dict[str, Any])
            found.append((fact.occurred_at, str(body.get(_MARKED[fact.label], fact.label))))
        position = page[-1].seq
