"""Counters of uses: read, reserve, commit, release; what a reservation holds returns by expiry.

A use is reserved with the decision, committed with the send and released when the send is given up.
Checking and reserving happen in one transaction, so a cap is never exceeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import blake2b

from sqlalchemy import BigInteger, Connection, bindparam, delete, func, insert, null, or_, select, update

from playbooks.constraints import Uses, cap_rule, suppressing_cap
from playbooks.models import Playbook
from playbooks.tables import uses
from storage.statements import Statement
from storage.times import from_micros, to_micros

# How long a decision may hold a use before its message was handed over.
RESERVATION = timedelta(hours=24)

_COUNTED = or_(uses.c.expires_at.is_(None), uses.c.expires_at > bindparam("now", type_=BigInteger))
_READ = Statement(
    select(uses.c.rule, uses.c.used_at)
    .where(
        uses.c.user_id == bindparam("user_id"),
        uses.c.used_at > bindparam("since", type_=BigInteger),
        _COUNTED,
    )
    .order_by(uses.c.used_at)
)
_HOLDS = Statement(select(uses.c.id).where(uses.c.decision_id == bindparam("decision_id"), _COUNTED).limit(1))
_INSERT = Statement(
    insert(uses).values(
        {name: bindparam(name) for name in ("user_id", "rule", "decision_id", "used_at", "expires_at")}
    )
)
_COMMIT = Statement(
    update(uses).where(uses.c.decision_id == bindparam("decision_id")).values(expires_at=null())
)
_RELEASE = Statement(
    delete(uses).where(uses.c.decision_id == bindparam("decision_id"), uses.c.expires_at.is_not(None))
)


def read(connection: Connection, user_id: str, now: datetime, *, since: datetime) -> Uses:
    """Return the moments of a user's counted uses after `since`, by rule, oldest first."""
    row = {"user_id": user_id, "since": to_micros(since), "now": to_micros(now)}
    result: dict[str, list[datetime]] = {}
    for use in _READ.run(connection, row):
        result.setdefault(use.rule, []).append(from_micros(use.used_at))
    return result


def reserve(
    connection: Connection, playbook: Playbook, user_id: str, decision_id: str, now: datetime
) -> str | None:
    """Check a playbook's caps and reserve a use of each, in the caller's transaction.

    Returns None when reserved, otherwise the rule id of the cap that has no room; then nothing is written.
    """
    if not playbook.constraints:
        return None
    _serialise(connection, user_id)
    since = now - longest_window([playbook])
    full = suppressing_cap(playbook, read(connection, user_id, now, since=since), now)
    if full is not None:
        return full
    rows = [
        {
            "user_id": user_id,
            "rule": cap_rule(playbook.id, cap.id),
            "decision_id": decision_id,
            "used_at": to_micros(now),
            "expires_at": to_micros(now + RESERVATION),
        }
        for cap in playbook.constraints
    ]
    _INSERT.run_many(connection, rows)
    return None


def holds(connection: Connection, decision_id: str, now: datetime) -> bool:
    """Say whether a decision's uses are reserved still, or committed."""
    row = {"decision_id": decision_id, "now": to_micros(now)}
    return _HOLDS.run(connection, row).first() is not None


def commit(connection: Connection, decision_ids: Sequence[str]) -> None:
    """Make the reserved uses of these decisions count for good."""
    _COMMIT.run_many(connection, [{"decision_id": decision_id} for decision_id in decision_ids])


def release(connection: Connection, decision_ids: Sequence[str]) -> None:
    """Give the reserved uses of these decisions back; committed ones stay."""
    _RELEASE.run_many(connection, [{"decision_id": decision_id} for decision_id in decision_ids])


def longest_window(playbooks: Sequence[Playbook]) -> timedelta:
    """Return how far back the caps of these playbooks look."""
    return max((cap.window for playbook in playbooks for cap in playbook.constraints), default=timedelta(0))


def _serialise(connection: Connection, user_id: str) -> None:
    """Let one transaction at a time count this user's uses; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        key = int.from_bytes(blake2b(user_id.encode(), digest_size=8).digest(), signed=True)
        connection.execute(select(func.pg_advisory_xact_lock(key)))
