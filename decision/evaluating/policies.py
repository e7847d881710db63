"""Policies as one sees them: their role, versions, evidence so far, and the record of past claims."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection

from learning import version_repository
from learning.challengers import estimate_repository, repository
from learning.challengers.models import Charge, Evidence
from learning.challengers.promoting import Promoting
from learning.challengers.record import record_of
from learning.errors import BrokenWeights
from storage.engine import Database

CHAMPION = "champion"
FALLBACK = "fallback"
CHALLENGER = "challenger"


class PolicyStanding(msgspec.Struct, frozen=True):
    """One policy: who it is, and what is known of it. `version` is its newest, None before the first.

    `evidence` is against the one in charge; that one has none. Of a portfolio `member` is in charge.
    """

    id: str
    role: str
    version: str | None
    since: datetime | None
    placements: list[str]
    exploration: str
    learner: str | None
    member: str | None
    evidence: Evidence | None


def standings(database: Database, promoting: Promoting) -> list[PolicyStanding]:
    """Return all policies of the library, the one in charge first."""
    with database.read() as connection:
        charge = repository.charge(connection, promoting.slot)
        known = repository.evidence(connection, promoting.slot)
        newest = {
            name: next(iter(version_repository.newest_names(connection, name, 1)), None)
            for name in promoting.specs
        }
        members = {name: None if at is None else _member(connection, at) for name, at in newest.items()}
    found = [_standing(promoting, charge, name, newest, known, members[name]) for name in promoting.specs]
    return sorted(found, key=lambda one: one.role != CHAMPION)


def described(database: Database, promoting: Promoting, policy: str) -> dict[str, Any]:
    """Return one policy with its newest versions, the rules, and how past claims did.

    Raises:
        UnknownPolicy: the library has none of it.
    """
    promoting.known(policy)
    (standing,) = (one for one in standings(database, promoting) if one.id == policy)
    with database.read() as connection:
        versions = version_repository.newest_names(connection, policy, 20)
        claims = repository.claims(connection, promoting.slot)
        estimates = estimate_repository.newest(connection)
    answer: dict[str, Any] = msgspec.to_builtins(standing)
    return answer | {
        "versions": versions,
        "claims": msgspec.to_builtins([one for one in claims if one.policy == policy]),
        "record": msgspec.to_builtins(record_of(claims, estimates)),
        "rules": promoting.rules.model_dump(mode="json"),
    }


def _standing(
    promoting: Promoting,
    charge: Charge,
    name: str,
    newest: Mapping[str, str | None],
    known: Mapping[str, Evidence],
    member: str | None,
) -> PolicyStanding:
    spec = promoting.specs[name]
    role = CHALLENGER
    if name == charge.policy:
        role = CHAMPION
    elif name == charge.former:
        role = FALLBACK
    evidence = known.get(name)
    if role == CHAMPION or (evidence is not None and evidence.against != charge.policy):
        evidence = None
    return PolicyStanding(
        id=name,
        role=role,
        version=newest[name],
        since=charge.since if role == CHAMPION else None,
        placements=list(spec.placements),
        exploration=spec.exploration.kind,
        learner=None if spec.learner is None else spec.learner.kind,
        member=member,
        evidence=evidence,
    )


def _member(connection: Connection, version: str) -> str | None:
    try:
        return version_repository.member(connection, version) or None
    except BrokenWeights:
        # A damaged version is passed over, and the doctor says so.
        return None
