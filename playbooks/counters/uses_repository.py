"""SQL of the uses that a user has made lately: what a decision reads, and its reservation reads again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, or_, select

from playbooks.constraints.counting import Uses
from playbooks.tables import uses
from storage.engine import Database
from storage.statements import Row, Statement
from storage.times import to_micros

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


def read(connection: Connection, profiles: Sequence[str], now: datetime, *, since: datetime) -> Uses:
    """Return the moments of the counted uses of a person's profiles after `since`, by rule, oldest first."""
    return _by_rule([_READ.rows(connection, _of_profile(profile, now, since)) for profile in profiles])


def look(database: Database, profiles: Sequence[str], now: datetime, *, since: datetime) -> Uses:
    """Return what `read` does, in what is committed now."""
    return _by_rule([database.look(_READ, _of_profile(profile, now, since)) for profile in profiles])


def _of_profile(profile: str, now: datetime, since: datetime) -> Row:
    return {"user_id": profile, "since": to_micros(since), "now": to_micros(now)}


def _by_rule(profiles: Sequence[Sequence[tuple[Any, ...]]]) -> dict[str, list[int]]:
    """Return the moments of rows (rule, used_at) of each profile by rule, oldest first."""
    found = profiles[0] if len(profiles) == 1 else sorted(chain(*profiles), key=itemgetter(1))
    result: dict[str, list[int]] = {}
    for rule, used_at in found:
        result.setdefault(rule, []).append(used_at)
    return result
