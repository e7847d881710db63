"""SQL of decisions: answers that are remembered under the keys they were asked with."""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b

import msgspec
from sqlalchemy import BigInteger, Connection, bindparam, func, insert, select

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
        lock = int.from_bytes(blake2b(request_key.encode(), digest_size=8).digest(), signed=True)
        _HOLD_KEY.run(connection, {"lock": lock})
    found = _ANSWER.rows(connection, {"request_key": request_key})
    return Answer(*found[0]) if found else None


def remember_answer(connection: Connection, request_key: str, answer: Answer, now: datetime) -> None:
    """Keep the answer to a request key.

    Raises:
        sqlalchemy.exc.IntegrityError: the key was answered before.
    """
    row = {
        "request_key": request_key,
        "fingerprint": answer.fingerprint,
        "decision_id": answer.decision_id,
        "answered_at": to_micros(now),
        "body": answer.body,
    }
    _REMEMBER.run_many(connection, [row])
