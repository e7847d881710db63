"""SQL of challengers: who is in charge, shadow rounds, evidence, claims."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError

from learning.challengers.models import Charge, Claim, Evidence, Live, ShadowRound
from learning.errors import ChargeTaken
from learning.tables import policies, policy_charges, policy_claims, policy_evidence, shadow_rounds
from storage import ledger, readers
from storage.ledger import Fact, Kind
from storage.schema import facts
from storage.times import to_micros

READER = "learning.shadow"


def charges(connection: Connection, slot: str) -> list[Charge]:
    """Return every change of who is in charge, the first one first."""
    query = select(policy_charges).where(policy_charges.c.slot == slot).order_by(policy_charges.c.number)
    return [Charge(**row._mapping) for row in connection.execute(query)]


def charge(connection: Connection, slot: str) -> Charge:
    """Return who is in charge; where nothing was changed, the policy that gives the slot its name."""
    this = policy_charges.c
    query = select(policy_charges).where(this.slot == slot).order_by(this.number.desc()).limit(1)
    row = connection.execute(query).first()
    return Charge(slot, 0, slot, None, None, "", "") if row is None else Charge(**row._mapping)


def in_charge(connection: Connection, slot: str, known: Collection[str]) -> str:
    """Return the id of the policy in charge; one that is not `known` gives its place to the slot's own."""
    found = charge(connection, slot).policy
    return found if found in known else slot


def take_charge(connection: Connection, new: Charge) -> None:
    """Put a policy in charge.

    Raises:
        ChargeTaken: somebody else did meanwhile.
    """
    try:
        connection.execute(insert(policy_charges), msgspec.structs.asdict(new))
    except IntegrityError as error:
        raise ChargeTaken(
            f"who is in charge of {new.slot!r} was changed meanwhile; look again at GET /v1/policies"
        ) from error


def versions_since(connection: Connection, policy: str, limit: int = 500) -> list[tuple[datetime, str]]:
    """Return when the newest versions of a policy were published, the oldest of them first."""
    query = select(policies.c.created_at, policies.c.version).where(policies.c.policy == policy)
    rows = connection.execute(query.order_by(policies.c.number.desc()).limit(limit)).all()
    return [(row.created_at, row.version) for row in reversed(rows)]


def began(connection: Connection, policy: str, spec_hash: str) -> datetime | None:
    """Return since when a policy has had its present specification, None if it has no version of it."""
    this = policies.c
    other = (
        select(func.max(this.number)).where(this.policy == policy, this.spec_hash != spec_hash)
    ).scalar_subquery()
    query = select(func.min(this.created_at)).where(
        this.policy == policy, this.spec_hash == spec_hash, this.number > func.coalesce(other, 0)
    )
    return connection.execute(query).scalar()


def keep_rounds(connection: Connection, after: int, position: int, new: Sequence[ShadowRound]) -> bool:
    """Keep what others would have done in the decisions of (after, position], unless somebody did already."""
    if not readers.advance_from(connection, READER, after, position, [Kind.DECISION]):
        return False
    if new:
        connection.execute(insert(shadow_rounds), [msgspec.structs.asdict(one) for one in new])
    return True


def rounds(
    connection: Connection, policy: str, drawer: str, since: datetime | None, until: datetime | None
) -> list[ShadowRound]:
    """Return what a policy would have done in decisions of another with since < decided_at < until."""
    this = shadow_rounds.c
    query = select(shadow_rounds).where(this.policy == policy, this.drawer == drawer)
    if since is not None:
        query = query.where(this.decided_at > since)
    if until is not None:
        query = query.where(this.decided_at < until)
    query = query.order_by(this.decided_at, this.decision_id)
    return [ShadowRound(**row._mapping) for row in connection.execute(query)]


def forget_rounds(connection: Connection, policy: str, before: datetime) -> None:
    """Let go of rounds that no evidence is made of any more."""
    this = shadow_rounds.c
    connection.execute(delete(shadow_rounds).where(this.policy == policy, this.decided_at < before))


def keep_evidence(connection: Connection, slot: str, found: Evidence) -> None:
    """Keep the newest evidence for a policy."""
    dialect = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement: Any = dialect(policy_evidence).values(
        slot=slot, policy=found.policy, at=found.at, body=msgspec.json.encode(found).decode()
    )
    changes = {"at": statement.excluded.at, "body": statement.excluded.body}
    connection.execute(statement.on_conflict_do_update(index_elements=["slot", "policy"], set_=changes))


def evidence(connection: Connection, slot: str) -> dict[str, Evidence]:
    """Return the newest evidence by policy."""
    query = select(policy_evidence.c.body).where(policy_evidence.c.slot == slot)
    found = [msgspec.json.decode(body, type=Evidence) for body in connection.execute(query).scalars()]
    return {one.policy: one for one in found}


def keep_claim(connection: Connection, slot: str, new: Claim) -> None:
    """Keep what a promotion promises."""
    row = {
        "change_id": new.change_id,
        "slot": slot,
        "policy": new.policy,
        "former": new.former,
        "at": new.at,
        "until": new.until,
        "promised": msgspec.json.encode(new.promised).decode(),
        "live": None,
    }
    connection.execute(insert(policy_claims), row)


def end_claim(connection: Connection, change_id: str, until: datetime) -> None:
    """Let the time end in which a claim is scored: the policy is not in charge any more."""
    this = policy_claims.c
    ends = update(policy_claims).where(this.change_id == change_id, this.until > until)
    connection.execute(ends.values(until=until))


def score_claim(connection: Connection, change_id: str, live: Live) -> None:
    """Keep what came of a claim."""
    body = msgspec.json.encode(live).decode()
    connection.execute(update(policy_claims).where(policy_claims.c.change_id == change_id).values(live=body))


def claims(connection: Connection, slot: str | None = None) -> list[Claim]:
    """Return all claims, or those of a slot, the first one first."""
    query = select(policy_claims).order_by(policy_claims.c.at)
    if slot is not None:
        query = query.where(policy_claims.c.slot == slot)
    return [
        Claim(
            row.change_id,
            row.policy,
            row.former,
            row.at,
            row.until,
            msgspec.json.decode(row.promised, type=Evidence),
            None if row.live is None else msgspec.json.decode(row.live, type=Live),
        )
        for row in connection.execute(query)
    ]


def newest_reward(connection: Connection) -> int:
    """Return the `seq` of the newest reward, 0 without any."""
    return connection.execute(select(func.max(facts.c.seq)).where(facts.c.kind == Kind.REWARD)).scalar() or 0


def facts_since(
    connection: Connection, kind: Kind, labels: Sequence[str], since: datetime | None
) -> list[Fact]:
    """Return the facts of a kind and of these labels that happened from a moment on."""
    query = ledger.columns().where(facts.c.kind == kind, facts.c.label.in_(labels))
    if since is not None:
        query = query.where(facts.c.occurred_at >= to_micros(since))
    return [ledger.fact_of(row) for row in connection.execute(query.order_by(facts.c.seq))]
