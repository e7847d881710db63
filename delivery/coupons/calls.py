"""Calls under an idempotency key: the same call is answered as it was, another one is refused."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec
from sqlalchemy import Connection

from delivery.coupons import call_repository
from delivery.coupons.answers import Used
from delivery.coupons.call_repository import Call
from delivery.coupons.errors import CallReused
from storage.clock import Clock
from storage.engine import Database
from storage.writer import Lane

Work = Callable[[Connection], Used | Exception]
# A use, its coupon, two facts, an event and its user, what is counted, the call itself.
_ROWS = 12


class Calls:
    """Does calls of one service, each in a transaction. Thread-safe."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def once(self, key: str | None, asked: Any, work: Work) -> Used:
        """Do a call; under a key that did it before, answer as then.

        Args:
            asked: all that the call says.
            work: returns what it refuses for instead of raising it, since others share its transaction.

        Raises:
            CallReused: the key did another call.
        """
        done = self._database.write(
            lambda connection: self._once(connection, key, asked, work), rows=_ROWS, lane=Lane.REQUEST
        )
        if isinstance(done, Exception):
            raise done
        return done

    def _once(self, connection: Connection, key: str | None, asked: Any, work: Work) -> Used | Exception:
        if key is None:
            return work(connection)
        name, fingerprint = _hash(key.encode()), _hash(msgspec.json.encode(asked))
        earlier = call_repository.find(connection, name)
        if earlier is not None and earlier.fingerprint != fingerprint:
            return CallReused(
                f"the idempotency key {key!r} was used for another call at {earlier.called_at.isoformat()}; "
                "take a new key for a new call"
            )
        if earlier is not None:
            return msgspec.json.decode(earlier.answer, type=Used)
        done = work(connection)
        if isinstance(done, Used):
            answer = msgspec.json.encode(done).decode()
            call = Call(name, fingerprint, done.user_id, self._clock.now(), answer)
            call_repository.remember(connection, call)
        return done


def _hash(text: bytes) -> str:
    return blake2b(text, digest_size=32).hexdigest()
