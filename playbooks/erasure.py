"""Where playbooks keep something of users, and how they take that away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, select

from playbooks.controls import Scope
from playbooks.controls.tables import controls
from playbooks.counters import Counters
from playbooks.tables import answers, uses
from storage.erasure import Erasing, Outside, Place, Rows, deleted_from
from storage.ledger import Kind
from storage.schema import facts


class _Asked(msgspec.Struct):
    """Of a decision's record: the key it was asked for with."""

    request_key: str = ""


_asked: Final = msgspec.json.Decoder(_Asked).decode


def places(counters: Counters) -> Sequence[Place]:
    """Return the places of playbooks.

    Remembered answers are found by the records of their decisions, so they must go before these. What was
    granted from budgets stays, under the decision's id: amounts are nobody's.
    """
    return [
        Rows("answers", [answers], _answers),
        *deleted_from(uses),
        Rows("controls", [controls], _controls),
        Outside("counters", counters.erase),
    ]


def _controls(connection: Connection, whom: Erasing, limit: int) -> int:
    mine = (controls.c.scope == Scope.USER.value) & (controls.c.target == whom.user_id)
    return connection.execute(delete(controls).where(mine)).rowcount


def _answers(connection: Connection, whom: Erasing, limit: int) -> int:
    decisions = select(facts.c.body).where(facts.c.user_id == whom.user_id, facts.c.kind == Kind.DECISION)
    keys = [_asked(body).request_key for body in connection.execute(decisions).scalars()]
    for start in range(0, len(keys), limit):
        some = answers.c.request_key.in_(keys[start : start + limit])
        if gone := connection.execute(delete(answers).where(some)).rowcount:
            return gone
    return 0
