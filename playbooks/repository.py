"""SQL of decisions: answers that are remembered under the keys they were asked with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Connection, bindparam, cast, func, insert, select
from sqlalchemy.dialects.postgresql import ARRAY

from playbooks.tables import answers
from storage.statements import Statement
from storage.times import to_micros

_ANSWER = Statement(
    select(answers.c.fingerprint, answers.c.decision_id, answers.c.body).where(
        answers.c.request_key == bindparam("request_key")
    )
)
_HOLD_KEY = Statement(select(func.pg_advisory_xact_lock(bindparam("lock", type_=BigInteger))))
_REMEMBER = Statement(insert(answers).values({column.name: bindparam(column.name) for column in answers.c}))


# Parameters of one IN (…).
_IN = 500


class Answer(msgspec.Struct, frozen=True):
    """What was answered under an idempotency key; `fingerprint` tells whether a request is the same."""

    fingerprint: str
    decision_id: str
    body: str


def answer_to(connection: Connection, request_key: str) -> Answer | None:
    """Return what was answered to a request key before, or None; then the key is the caller's to answer.

    On Postgres another transaction with the same key waits here until this one ends, and sees its answer.
    """
    if connection.dialect.name == "postgresql":
        _HOLD_KEY.run(connection, {"lock": _lock_of(request_key)})
    found = _ANSWER.rows(connection, {"request_key": request_key})
    return Answer(*found[0]) if found else None


def answers_to(connection: Connection, request_keys: Sequence[str]) -> dict[str, Answer]:
    """Return what was answered to request keys before, by key; the others are the caller's to answer."""
    if connection.dialect.name == "postgresql":
        # In one order everywhere, so that no two transactions wait for each other.
        locks = [_lock_of(key) for key in sorted(request_keys)]
        keys = func.unnest(cast(locks, ARRAY(BigInteger))).column_valued("key")
        connection.execute(select(func.pg_advisory_xact_lock(keys))).all()
    return known_answers(connection, request_keys)


def known_answers(connection: Connection, request_keys: Sequence[str]) -> dict[str, Answer]:
    """Return what was answered to request keys before, by key."""
    found: dict[str, Answer] = {}
    for start in range(0, len(request_keys), _IN):
        query = select(answers.c.request_key, answers.c.fingerprint, answers.c.decision_id, answers.c.body)
        some = query.where(answers.c.request_key.in_(request_keys[start : start + _IN]))
        found |= {key: Answer(*rest) for key, *rest in connection.execute(some)}
    return found


def remember_answers(connection: Connection, answered: Mapping[str, Answer], now: datetime) -> None:
    """Keep the answers to request keys (see `remember_answer`)."""
    _REMEMBER.run_many(connection, [_remembered(key, answer, now) for key, answer in answered.items()])


def remember_answer(connection: Connection, request_key: str, answer: Answer, now: datetime) -> None:
    """Keep the answer to a request key.

    Raises:
        sqlalchemy.exc.IntegrityError: the key was answered before.
    """
    remember_answers(connection, {request_key: answer}, now)


def _remembered(request_key: str, answer: Answer, now: datetime) -> dict[str, Any]:
    return {
        "request_key": request_key,
        "fingerprint": answer.fingerprint,
        "decision_id": answer.decision_id,
        "answered_at": to_micros(now),
        "body": answer.body,
    }


def _lock_of(request_key: str) -> int:
    return int.from_bytes(blake2b(request_key.encode(), digest_size=8).digest(), signed=True)
