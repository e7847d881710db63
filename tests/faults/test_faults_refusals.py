"""A coupon that was refused counts as lost unless a full cap explains it."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from playbooks.constraints.documents import Cap
from playbooks.tables import uses
from storage.engine import Database
from tests.faults.refusals import Refusal, without_reason

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
RULE = "cap.welcome.two_months"
CAPS = {RULE: Cap(id="two_months", limit=2, window=timedelta(days=56))}


@pytest.mark.parametrize(
    ("days", "counted", "rule", "explained"),
    [
        ((-1, -55), True, RULE, True),
        ((-1, 3), True, RULE, True),
        ((-1, -57), True, RULE, False),
        ((-1,), True, RULE, False),
        ((-1, -1), False, RULE, False),
        ((-1, -1), True, "cap.welcome.other", False),
    ],
)
def test_a_refusal_needs_a_full_cap(
    days: tuple[int, ...], counted: bool, rule: str, explained: bool, sqlite_url: str
) -> None:
    rows = [
        {
            "user_id": "ann",
            "rule": RULE,
            "decision_id": f"d{place}",
            "used_at": AT + timedelta(days=day),
            "expires_at": None if counted else AT,
        }
        for place, day in enumerate(days)
    ]
    with closing(Database(sqlite_url)) as database:
        database.write(lambda connection: connection.execute(insert(uses), rows))
        with database.read() as connection:
            found = list(without_reason(connection, [Refusal("e1", "ann", rule, AT)], CAPS))
    assert (not found) is explained
