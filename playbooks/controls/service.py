"""Stops and resumes, with who wants it and why; every change is a fact."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from playbooks.controls import repository
from playbooks.controls.models import STOPPING, Control, ControlChange, Mode, Scope
from playbooks.errors import NothingStopped, UnknownTarget
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.writer import Lane

LABEL = "control"

# Given a target, says what is wrong with it, None if it is one.
Known = Callable[[Connection, str], str | None]


@dataclass(frozen=True, slots=True)
class Targets:
    """What there is to stop: `known` by scope, and under which id a user is kept."""

    known: Mapping[Scope, Known]
    canonical: Callable[[str], str] = str


class ControlService:
    """Changes controls. Thread-safe; what is changed holds for every process within a second."""

    def __init__(self, database: Database, clock: Clock, targets: Targets) -> None:
        self._database, self._clock, self._targets = database, clock, targets

    def stop(
        self, scope: Scope, target: str, mode: Mode, *, by: str, why: str, evidence: Any = None
    ) -> Control:
        """Pause or drain something; what is stopped already is stopped the new way.

        Raises:
            UnknownTarget: there is no such playbook, channel or user.
        """

        def work(connection: Connection) -> Control:
            at = self._clock.now()
            one = Control(scope, self._target(connection, scope, target), mode, by, why, at)
            before = repository.get(connection, one.scope, one.target)
            if before is not None and (before.mode, before.by, before.why) == (mode, by, why):
                return before
            _keep(connection, one, evidence)
            return one

        return self._database.write(work, rows=3, lane=Lane.REQUEST)

    def resume(self, scope: Scope, target: str, *, by: str, why: str) -> Control:
        """Let something go on where it was.

        Raises:
            NothingStopped: it is not stopped.
        """

        def work(connection: Connection) -> Control:
            canonical = self._targets.canonical(target) if scope is Scope.USER else target
            before = repository.get(connection, scope, canonical)
            if before is None or before.mode not in STOPPING:
                what = scope.value if scope is Scope.EVERYTHING else f"{scope.value} {target!r}"
                raise NothingStopped(f"{what} is not stopped; GET /v1/controls lists what is")
            one = Control(scope, canonical, Mode.RESUMING, by, why, self._clock.now())
            _keep(connection, one)
            return one

        return self._database.write(work, rows=3, lane=Lane.REQUEST)

    def list(self) -> list[Control]:
        """Return what is stopped, or was and still puts back what waited; the latest first."""
        with self._database.read() as connection:
            return repository.standing(connection, (*STOPPING, Mode.RESUMING))

    def _target(self, connection: Connection, scope: Scope, target: str) -> str:
        if scope is Scope.EVERYTHING:
            if target:
                raise UnknownTarget(f"`everything` has no target, not {target!r}: leave it out")
            return ""
        canonical = self._targets.canonical(target) if scope is Scope.USER else target
        if (wrong := self._targets.known[scope](connection, canonical)) is not None:
            raise UnknownTarget(wrong)
        return canonical


def _keep(connection: Connection, one: Control, evidence: Any = None) -> None:
    repository.keep(connection, one)
    of_user = one.scope is Scope.USER
    mode = "resume" if one.mode is Mode.RESUMING else one.mode.value
    body = ControlChange(one.scope.value, "" if of_user else one.target, mode, one.by, one.why, evidence)
    user_id = one.target if of_user else None
    ledger.append(connection, [NewFact(Kind.CHANGE, new_id(one.at), LABEL, user_id, one.at, body)], one.at)
