"""Runs that were refused their coupon: which they say they are, and whether their caps were full."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select

from delivery.tables import enrolments
from playbooks.constraints.documents import Cap, rule_of
from playbooks.library import VersionBody
from playbooks.library.repository import latest_versions
from playbooks.models import Playbook
from playbooks.tables import uses
from storage.ledger import Kind
from storage.schema import facts
from storage.times import from_micros

# How the result of such a run begins; the rule follows.
_REFUSED = "suppressed: "


class Refusal(NamedTuple):
    """A run that ended without its coupon: what it had reserved had expired, and no room was left."""

    enrolment: str
    user: str
    rule: str
    at: datetime


def refusals(connection: Connection) -> dict[str, Refusal]:
    """Return the runs that ended so, by the decisions that began them."""
    rows = connection.execute(
        select(
            enrolments.c.decision_id,
            enrolments.c.id,
            enrolments.c.user_id,
            enrolments.c.result,
            facts.c.recorded_at,
        )
        .join(facts, facts.c.id == enrolments.c.id + ":ended")
        .where(facts.c.kind == Kind.ENROLMENT, enrolments.c.result.startswith(_REFUSED))
    )
    return {
        row.decision_id: Refusal(
            row.id, row.user_id, row.result.removeprefix(_REFUSED), from_micros(row.recorded_at)
        )
        for row in rows
    }


def without_reason(
    connection: Connection, refused: Iterable[Refusal], caps: Mapping[str, Cap]
) -> Iterator[str]:
    """Say which of them no full cap explains.

    Whoever had only reserved the room at the time may have used it later, so later uses are taken for it. All
    others do not matter: a run waits while room is held by decisions that were never recorded, and while
    counters are away.
    """
    moments: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    counted = select(uses.c.user_id, uses.c.rule, uses.c.used_at).where(uses.c.expires_at.is_(None))
    for user, rule, used_at in connection.execute(counted):
        moments[user, rule].append(used_at)
    for one in refused:
        cap = caps.get(one.rule)
        since = None if cap is None else one.at - cap.window  # type: ignore[operator]
        taken = sum(used_at > since for used_at in moments[one.user, one.rule]) if since else 0
        if cap is None or taken < cap.limit:
            yield f"coupon of enrolment {one.enrolment}: {one.rule} refused it, of which {taken} were used"


def playbooks(connection: Connection) -> list[Playbook]:
    """Return the playbooks as they were published last."""
    return [
        VersionBody.model_validate_json(body).playbook for _, body in latest_versions(connection).values()
    ]


def caps_of(published: Iterable[Playbook]) -> dict[str, Cap]:
    """Return the caps of playbooks by their rules."""
    return {rule_of(cap, one.id): cap for one in published for cap in one.constraints if isinstance(cap, Cap)}
