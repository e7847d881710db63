"""The ledger of claims: what promotions and evaluations promised, and what came of each."""

from __future__ import annotations

import msgspec

from learning.challengers import estimate_repository, repository
from learning.challengers.estimates import Estimate
from learning.challengers.models import Claim, Record
from learning.challengers.record import record_of
from storage.engine import Database


class Claims(msgspec.Struct, frozen=True):
    """Claims, the newest first, and how all of them together did.

    `next` is the `before` of the next page of evaluations, None on the last one.
    """

    promotions: list[Claim]
    evaluations: list[Estimate]
    next: str | None
    record: Record


def claims_of(database: Database, policy: str | None, before: str | None, limit: int) -> Claims:
    """Return a page of what evaluations claimed, and all promotions; of one policy or of all."""
    with database.read() as connection:
        promotions = [one for one in repository.claims(connection) if policy in (None, one.policy)]
        evaluations = estimate_repository.newest(connection, policy, before=before, limit=limit)
        record = record_of(promotions, estimate_repository.newest(connection, policy))
    following = evaluations[-1].id if len(evaluations) == limit else None
    return Claims(promotions[::-1], evaluations, following, record)
