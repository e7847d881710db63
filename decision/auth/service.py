"""Making, rotating and taking back keys. Each change leaves a fact in the ledger, without the secret."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from decision.auth import repository
from decision.auth.errors import KeyUnfit, NoSuchKey
from decision.auth.models import Key, KeyText, Scope, hash_secret, mint, ordered
from storage import ledger
from storage.clock import Clock, SystemClock
from storage.engine import Database
from storage.errors import DatabaseUnavailable, NextplayError
from storage.ids import new_id
from storage.ledger import Kind, NewFact

T = TypeVar("T")

_log = structlog.get_logger(__name__)

# How long a rotated key goes on to count unless said otherwise: time to replace it everywhere.
GRACE = timedelta(days=1)
MAX_GRACE = timedelta(days=30)
MAX_LIFETIME = timedelta(days=3653)
MAX_NAME_LENGTH = 100
FIRST_NAME = "first"
SETTINGS_NAME = "settings"
_PERSON = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")


class KeyChange(msgspec.Struct, frozen=True):
    """Body of the fact that a change of a key leaves; `by` is the id of the key that asked, or the way."""

    key: str
    name: str
    scopes: list[Scope]
    by: str
    expires_at: datetime | None = None
    rotated_from: str | None = None
    person: str | None = None


class Keys:
    """The keys of one database. Safe to call from any thread."""

    def __init__(self, database: Database, clock: Clock, real_clock: Clock | None = None) -> None:
        """Keep keys in a database.

        Args:
            clock: of the service; facts have its times.
            real_clock: by which keys expire, whatever clock the service lives on.
        """
        self._database = database
        self._clock = clock
        self._real_clock = real_clock or SystemClock()
        self._lock = threading.Lock()
        # Grows with every change made here, so that those who remember keys know that they must look again.
        self.generation = 0
        # Whether another process may change them. A SQLite file belongs to this one.
        self.shared = not database.is_sqlite

    def now(self) -> datetime:
        """Return the moment by which keys expire."""
        return self._real_clock.now()

    def all(self) -> list[Key]:
        """Return every key there ever was, oldest first.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        try:
            with self._database.read() as connection:
                return repository.all_keys(connection)
        except (DBAPIError, PoolTimeout) as error:
            raise DatabaseUnavailable(
                "the keys can't be read: the database does not answer; try again"
            ) from error

    def create(
        self,
        name: str,
        scopes: Iterable[Scope],
        lifetime: timedelta | None = None,
        *,
        by: str,
        person: str | None = None,
    ) -> tuple[Key, KeyText]:
        """Make a key and return it with its text, which can't be had again.

        Args:
            lifetime: after which it expires; None: never.
            by: the id of the key that asked for it, or the way it was asked for.
            person: whose of the staff it is, by the id in people.yaml.

        Raises:
            KeyUnfit: the name, the scopes, the lifetime or the person can't be; nothing was made.
        """
        wanted = frozenset(scopes)
        if not 0 < len(name.strip()) <= MAX_NAME_LENGTH:
            raise KeyUnfit(f"a key's name has 1 to {MAX_NAME_LENGTH} characters, say what the key is for")
        if not wanted:
            raise KeyUnfit(f"a key needs a scope: name some of {', '.join(Scope)}")
        if Scope.WORK in wanted and person is None:
            raise KeyUnfit("a key with the scope work is one person's: name the person")
        if person is not None and _PERSON.fullmatch(person) is None:
            raise KeyUnfit(f"{person!r} is no id of a person: write it as people.yaml has it")
        if lifetime is not None and not timedelta(0) < lifetime <= MAX_LIFETIME:
            raise KeyUnfit(f"a key lives for more than 0 and at most {MAX_LIFETIME.days} days")
        key, text = self._new(name.strip(), wanted, lifetime)
        key = msgspec.structs.replace(key, person=person)
        self._write(lambda connection: self._add(connection, key, "key_created", by))
        return key, text

    def rotate(self, key_id: str, grace: timedelta = GRACE, *, by: str) -> tuple[Key, KeyText]:
        """Make a successor with the same name, scopes and lifetime; the old key ends after `grace`.

        Raises:
            NoSuchKey: there is no such key.
            KeyUnfit: it is expired, revoked or was rotated before, or the grace is too long; nothing changed.
        """
        if not timedelta(0) <= grace <= MAX_GRACE:
            raise KeyUnfit(
                f"the old key may go on for at most {MAX_GRACE.days} days; with PT0S it ends at once"
            )
        fresh, text = self._new("", frozenset(), None)
        now = fresh.created_at

        def work(connection: Connection) -> Key:
            old = self._valid(connection, key_id, now)
            after = repository.successor(connection, key_id)
            if after is not None:
                raise KeyUnfit(f"the key {key_id} was rotated into {after} before: rotate that one")
            lifetime = None if old.expires_at is None else old.expires_at - old.created_at
            key = msgspec.structs.replace(
                fresh,
                name=old.name,
                scopes=old.scopes,
                expires_at=None if lifetime is None else now + lifetime,
                rotated_from=old.id,
                person=old.person,
            )
            ends = now + grace
            repository.end_at(
                connection, old.id, ends if old.expires_at is None else min(ends, old.expires_at)
            )
            self._add(connection, key, "key_rotated", by)
            return key

        return self._write(work), text

    def revoke(self, key_id: str, *, by: str) -> Key:
        """Take a key back, at once in this process and within a second in every other.

        Raises:
            NoSuchKey: there is no such key.
            KeyUnfit: it is the last valid key with the scope admin; nothing changed.
        """
        now = self.now()

        def work(connection: Connection) -> Key:
            repository.lock_first(connection)
            key = _existing(connection, key_id)
            if key.revoked_at is not None:
                return key
            others = (one for one in repository.all_keys(connection) if one.id != key_id)
            if _is_admin(key, now) and not any(_is_admin(one, now) for one in others):
                raise KeyUnfit(
                    f"{key_id} is the last key with the scope admin: create another one first, or rotate it"
                )
            repository.revoke(connection, key_id, now)
            self._record(connection, key, "key_revoked", by)
            return msgspec.structs.replace(key, revoked_at=now)

        return self._write(work)

    def create_first(self) -> KeyText | None:
        """Make an admin key if there never was any key; returns its text then."""
        key, text = self._new(FIRST_NAME, frozenset({Scope.ADMIN}), None)

        def work(connection: Connection) -> bool:
            repository.lock_first(connection)
            if not repository.is_empty(connection):
                return False
            self._add(connection, key, "key_created", "first start")
            return True

        return text if self._write(work) else None

    def register_admin(self, text: KeyText) -> None:
        """Make a text that the operator chose (the setting `admin_key`) an admin key, unless it is known."""
        secret = hash_secret(text.secret.encode())
        key = Key(text.id, SETTINGS_NAME, frozenset({Scope.ADMIN}), secret, self.now())

        def work(connection: Connection) -> Key:
            repository.lock_first(connection)
            known = repository.get(connection, key.id)
            if known is None:
                self._add(connection, key, "key_created", "settings")
            return known or key

        kept = self._write(work)
        if kept.hash != key.hash or not _is_admin(kept, key.created_at):
            _log.warning("the key of NEXTPLAY_ADMIN_KEY does not open this service", key_id=key.id)

    def touch(self, key_id: str) -> None:
        """Remember that a key was used, some time soon; nobody waits for it and its loss is no harm."""
        now = self.now()
        try:
            self._database.writer.submit(lambda connection: repository.used(connection, key_id, now))
        except NextplayError as error:
            _log.debug("use of a key not noted", key_id=key_id, code=error.code)

    def _new(self, name: str, scopes: frozenset[Scope], lifetime: timedelta | None) -> tuple[Key, KeyText]:
        text, now = mint(), self.now()
        expires_at = None if lifetime is None else now + lifetime
        return Key(text.id, name, scopes, hash_secret(text.secret.encode()), now, expires_at), text

    def _write(self, work: Callable[[Connection], T]) -> T:
        result = self._database.write(work, rows=2)
        with self._lock:
            self.generation += 1
        return result

    def _valid(self, connection: Connection, key_id: str, now: datetime) -> Key:
        key = _existing(connection, key_id)
        if (state := key.state(now)) != "valid":
            raise KeyUnfit(f"the key {key_id} is {state}: create a new one")
        return key

    def _add(self, connection: Connection, key: Key, label: str, by: str) -> None:
        repository.add(connection, key)
        self._record(connection, key, label, by)

    def _record(self, connection: Connection, key: Key, label: str, by: str) -> None:
        now = self._clock.now()
        body = KeyChange(
            key.id, key.name, ordered(key.scopes), by, key.expires_at, key.rotated_from, key.person
        )
        ledger.append(connection, [NewFact(Kind.CHANGE, new_id(now), label, None, now, body)], now)


def _existing(connection: Connection, key_id: str) -> Key:
    key = repository.get(connection, key_id)
    if key is None:
        raise NoSuchKey(f"there is no key {key_id!r}; `nextplay keys list` shows the ids of all")
    return key


def _is_admin(key: Key, now: datetime) -> bool:
    return Scope.ADMIN in key.scopes and key.state(now) == "valid"
