"""Webhooks of CRMs: each taken once, what can't be read kept with the reason and replayed after a fix."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import Connection

from audiences.accounts import repository as accounts
from audiences.crm import repository
from audiences.crm.definitions import CrmSource
from audiences.crm.mapping import CrmObject, events_of, read_object
from audiences.crm.repository import Waiting
from audiences.errors import AudiencesError, PayloadUnreadable, UnknownCrm
from audiences.intake.intake import Intake, Outcome
from audiences.intake.ports import Judged
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ledger import Kind, NewFact
from storage.times import to_micros
from storage.writer import Lane

# CRMs send again for days under the same id; after this what was told is known by its own version.
_REMEMBERED = timedelta(days=14)
# About what a webhook writes: three events, users, identities, traits, the object.
_ROWS = 60
_PAGE = 100


class Became(StrEnum):
    """What became of a webhook."""

    RECORDED = "recorded"
    # It was taken before: the webhook, or the same version of the object by another one.
    DUPLICATE = "duplicate"
    # A newer version of the object is held; this one is history.
    OLDER = "older"
    IGNORED = "ignored"
    QUARANTINED = "quarantined"


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a webhook, and why if it could not be read."""

    outcome: Became
    reason: str = ""


class Replayed(msgspec.Struct, frozen=True):
    """How many waiting webhooks could be read now, and how many still can't."""

    taken: int = 0
    waiting: int = 0


class Crm:
    """The CRMs of one service. Thread-safe."""

    def __init__(
        self, database: Database, clock: Clock, intake: Intake, sources: Mapping[str, CrmSource]
    ) -> None:
        self._database = database
        self._clock = clock
        self._intake = intake
        self._sources = sources

    def source(self, source_id: str) -> CrmSource:
        """Return a source.

        Raises:
            UnknownCrm: there is none of that id.
        """
        source = self._sources.get(source_id)
        if source is None:
            there = ", ".join(self._sources) or "none"
            raise UnknownCrm(f"there is no CRM {source_id[:64]!r} in crm.yaml; there are {there}")
        return source

    def submit(self, source: CrmSource, webhook_id: str, body: bytes) -> Future[Answer]:
        """Take a webhook whose signature was verified; the future is done once that is durable.

        Raises:
            PayloadUnreadable: it is no JSON object; nothing was kept.
            WriterBusy: too much waits to be written.
        """
        now = self._clock.now()
        payload = _decoded(body)
        text = body.decode()
        told, judged, reason = self._read(source, payload, now)

        def work(connection: Connection) -> Answer:
            repository.forget_taken(connection, now - _REMEMBERED)
            kept = None if reason is None else text
            if not repository.claim(connection, source.id, webhook_id, now, reason, kept):
                before = repository.reason_of(connection, source.id, webhook_id)
                return Answer(Became.DUPLICATE) if before is None else Answer(Became.QUARANTINED, before)
            if reason is not None:
                return Answer(Became.QUARANTINED, reason)
            return Answer(self._record(connection, told, judged))

        future = self._database.writer.submit(work, rows=_ROWS, lane=Lane.REQUEST)
        future.add_done_callback(lambda _: self._intake.committed())
        return future

    def waiting(self, source: CrmSource, limit: int = _PAGE, after: str = "") -> list[Waiting]:
        """Return webhooks that could not be read, in the order of their ids."""
        with self._database.read() as connection:
            return repository.waiting(connection, source.id, limit, after)

    def replay(self, source: CrmSource) -> Replayed:
        """Read again what could not be read, by the mapping as it is now."""
        taken = still = 0
        after = ""
        while page := self.waiting(source, after=after):
            for one in page:
                if self._replay(source, one):
                    taken += 1
                else:
                    still += 1
            after = page[-1].webhook_id
        return Replayed(taken, still)

    def _replay(self, source: CrmSource, one: Waiting) -> bool:
        now = self._clock.now()
        told, judged, reason = self._read(source, _decoded(one.body.encode()), now)

        def work(connection: Connection) -> bool:
            if not repository.settle(connection, source.id, one.webhook_id, reason):
                # Another process was faster.
                return True
            if reason is None:
                self._record(connection, told, judged)
            return reason is None

        done = self._database.write(work, rows=_ROWS)
        self._intake.committed()
        return done

    def _read(
        self, source: CrmSource, payload: Mapping[str, Any], now: datetime
    ) -> tuple[CrmObject | None, list[Judged], str | None]:
        """Return what a payload tells, its events as they are to be kept, and why it can't be read."""
        try:
            told = read_object(source, payload, now)
            if told is None:
                return None, [], None
            return told, self._intake.judge(events_of(told, source.name, now)), None
        except AudiencesError as error:
            return None, [], str(error)

    def _record(self, connection: Connection, told: CrmObject | None, judged: list[Judged]) -> Became:
        if told is None:
            return Became.IGNORED
        if told.is_of_account:
            return _record_account(connection, told, self._clock.now())
        taken = self._intake.record(connection, judged)
        ids = [one.event_id for one in taken]
        facts = ledger.known(connection, [Kind.EVENT, Kind.PAST_EVENT], ids)
        user_id = next((fact.user_id for fact in facts.values() if fact.user_id), told.user_id)
        latest = repository.keep(connection, told, user_id or "")
        if taken and all(one.outcome is Outcome.DUPLICATE for one in taken):
            return Became.DUPLICATE
        return Became.RECORDED if latest else Became.OLDER


def _record_account(connection: Connection, told: CrmObject, now: datetime) -> Became:
    """Keep what is told of an account alone: its traits, and a fact that says where they are from."""
    fact_id = f"{told.source}:{told.type}:{told.id}:{to_micros(told.updated_at)}:{told.digest}"
    if not repository.keep(connection, told, ""):
        return Became.DUPLICATE if ledger.get(connection, Kind.CHANGE, fact_id) else Became.OLDER
    if ledger.get(connection, Kind.CHANGE, fact_id) is not None:
        return Became.DUPLICATE
    account_id = told.account_id or ""
    accounts.record_traits(connection, account_id, told.account_traits, told.updated_at)
    body = {"account_id": account_id, "traits": told.account_traits, "source": told.source}
    change = NewFact(Kind.CHANGE, fact_id, accounts.TOLD, None, told.updated_at, body)
    ledger.append(connection, [change], now)
    return Became.RECORDED


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadUnreadable(f"the body is no JSON object: {error}") from error
