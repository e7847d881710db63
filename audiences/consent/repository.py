"""SQL of consent and of addresses that may not be written to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, or_, select

from audiences.consent.models import (
    Channel,
    Consent,
    ConsentBody,
    ConsentState,
    Reason,
    SuppressionBody,
    Wording,
)
from audiences.consent.tables import address_key, consents, suppressions
from storage import ledger
from storage.ledger import Fact, Kind, NewFact
from storage.schema import facts
from storage.times import to_micros
from storage.upserts import insert_into

SUPPRESSED = "suppressed"
LIFTED = "lifted"


def record(connection: Connection, said: Sequence[Consent], now: datetime) -> list[bool]:
    """Record words, each once, and let the latest of each count; returns which of them are new.

    A word is known by user, purpose, channel, moment and what it says.
    """
    new = _append(connection, [_fact(one) for one in said], now)
    fresh = [one for one, is_new in zip(said, new, strict=True) if is_new]
    if fresh:
        statement: Any = insert_into(connection, consents)
        later = or_(
            statement.excluded.at > consents.c.at,
            (statement.excluded.at == consents.c.at) & (statement.excluded.state == ConsentState.DENIED),
        )
        _upsert(connection, consents, statement, later, [_row(one) for one in fresh])
    return new


def of_users(connection: Connection, user_ids: Sequence[str]) -> list[Consent]:
    """Return the words of these users that count now, in the order of purpose and channel."""
    query = (
        select(consents)
        .where(consents.c.user_id.in_(user_ids))
        .order_by(consents.c.user_id, consents.c.purpose, consents.c.channel)
    )
    return [_consent(row) for row in connection.execute(query)]


def history(connection: Connection, user_ids: Sequence[str], limit: int) -> list[Fact]:
    """Return the facts of what these users said, latest first."""
    query = (
        ledger.columns()
        .where(facts.c.kind == Kind.CONSENT, facts.c.user_id.in_(user_ids))
        .order_by(facts.c.occurred_at.desc(), facts.c.seq.desc())
    )
    return [ledger.fact_of(row) for row in connection.execute(query.limit(limit))]


def suppress(
    connection: Connection,
    listed: Sequence[tuple[SuppressionBody, datetime]],
    now: datetime,
    state: str = SUPPRESSED,
) -> list[bool]:
    """Record that addresses may not, or (`lifted`) may again be written to; returns which words are new.

    For each address and reason the latest word counts, at the same moment the one that forbids.
    """
    new_facts = [
        NewFact(
            Kind.CONSENT,
            f"{body.kind}:{body.address}:{body.reason.value}:{to_micros(at)}:{state}",
            state,
            None,
            at,
            body,
        )
        for body, at in listed
    ]
    new = _append(connection, new_facts, now)
    rows = [
        {
            "kind": body.kind,
            "address": body.address,
            "reason": body.reason.value,
            "state": state,
            "at": at,
            "source": body.source,
        }
        for (body, at), is_new in zip(listed, new, strict=True)
        if is_new
    ]
    if rows:
        statement: Any = insert_into(connection, suppressions)
        later = or_(
            statement.excluded.at > suppressions.c.at,
            (statement.excluded.at == suppressions.c.at) & (statement.excluded.state == SUPPRESSED),
        )
        _upsert(connection, suppressions, statement, later, rows)
    return new


def reasons(connection: Connection, addresses: Sequence[str]) -> dict[str, list[Reason]]:
    """Return why addresses (hashes) may not be written to; those that may are left out."""
    query = (
        select(suppressions.c.address, suppressions.c.reason)
        .where(suppressions.c.address.in_(addresses), suppressions.c.state == SUPPRESSED)
        .order_by(suppressions.c.address, suppressions.c.reason)
    )
    found: dict[str, list[Reason]] = {}
    for address, reason in connection.execute(query):
        found.setdefault(address, []).append(Reason(reason))
    return found


def keep_fingerprint(connection: Connection, fingerprint: str) -> str:
    """Return the fingerprint of the key that addresses are hashed under; the first one given is kept."""
    insert = insert_into(connection, address_key).values(id=1, fingerprint=fingerprint)
    connection.execute(insert.on_conflict_do_nothing())
    kept: str = connection.execute(select(address_key.c.fingerprint)).scalar_one()
    return kept


def _append(connection: Connection, new: Sequence[NewFact], now: datetime) -> list[bool]:
    recorded = ledger.append_unless_known(connection, new, now)
    fresh = []
    for one in new:
        fresh.append(one.id in recorded)
        # What comes twice within `new` is new once.
        recorded.discard(one.id)
    return fresh


def _fact(one: Consent) -> NewFact:
    # The user's id stands alone between colons, so that an erasure finds it there.
    id_ = f"{one.user_id}:{one.purpose}:{one.channel.value}:{to_micros(one.at)}:{one.state.value}"
    body = ConsentBody(one.purpose, one.channel, one.source, one.wording)
    return NewFact(Kind.CONSENT, id_, one.state.value, one.user_id, one.at, body)


def _row(one: Consent) -> dict[str, Any]:
    return {
        "user_id": one.user_id,
        "purpose": one.purpose,
        "channel": one.channel.value,
        "state": one.state.value,
        "at": one.at,
        "source": one.source,
        "wording_id": one.wording and one.wording.id,
        "wording_version": one.wording and one.wording.version,
        "wording_hash": one.wording and one.wording.hash,
    }


def _consent(row: Any) -> Consent:
    shown = Wording(row.wording_id, row.wording_version, row.wording_hash) if row.wording_id else None
    return Consent(
        row.user_id, row.purpose, Channel(row.channel), ConsentState(row.state), row.at, row.source, shown
    )


def _upsert(
    connection: Connection, table: Table, statement: Any, where: Any, rows: Sequence[dict[str, Any]]
) -> None:
    keys = [column.name for column in table.primary_key]
    replaced = {one.name: statement.excluded[one.name] for one in table.c if one.name not in keys}
    # In one order everywhere, so that no two transactions wait for each other's rows.
    ordered = sorted(rows, key=lambda row: [row[key] for key in keys])
    connection.execute(
        statement.on_conflict_do_update(index_elements=keys, set_=replaced, where=where), ordered
    )
