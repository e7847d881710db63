"""Moves of versions within one transaction: what each supersedes, and the fact that each leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection

from playbooks.library import repository
from playbooks.library.documents import VersionBody
from playbooks.library.lifecycle import SERVED, State
from playbooks.library.repository import Standing
from storage import ledger
from storage.ids import new_id
from storage.ledger import Kind, NewFact

# Who moves what comes and goes with the library folder.
FOLDER = "folder"
LABEL = "playbook"

# The states of other versions that end when a version enters one.
_ENDS: Mapping[State, frozenset[State]] = {
    State.LIVE: frozenset({State.IN_REVIEW, State.APPROVED, State.PILOT, State.LIVE, State.PAUSED}),
    State.PAUSED: frozenset({State.IN_REVIEW, State.APPROVED, State.PILOT, State.LIVE, State.PAUSED}),
    State.PILOT: frozenset({State.IN_REVIEW, State.APPROVED, State.PILOT}),
    State.APPROVED: frozenset({State.IN_REVIEW, State.APPROVED}),
    State.IN_REVIEW: frozenset({State.IN_REVIEW, State.APPROVED}),
}

_HAD_ITS_TURN = SERVED | {State.PAUSED}


class PlaybookChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of the change fact that every move leaves. `evidence`: what was known, for a pilot its report."""

    playbook: str
    version: int
    state: str
    before: str | None
    by: str
    why: str = ""
    evidence: Any = None


class Moves:
    """Collects new versions and moves; `write` keeps them and their facts."""

    def __init__(self, connection: Connection, by: str, now: datetime) -> None:
        self._connection, self._by, self._now = connection, by, now
        self._number = repository.last_number(connection)
        self._new: dict[tuple[str, int], VersionBody] = {}
        self._changes: list[PlaybookChange] = []
        self._moved: dict[tuple[str, int], Standing] = {}
        self.entered: list[Standing] = []
        self.left: list[Standing] = []

    def new(
        self, playbook: str, version: int, body: VersionBody, *, source: str, needs: tuple[str, ...] = ()
    ) -> Standing:
        """Return a version that did not exist yet; it is to enter a state."""
        self._new[playbook, version] = body
        return Standing(
            playbook=playbook,
            version=version,
            state=State.DRAFT,
            number=0,
            moved_at=self._now,
            moved_by=self._by,
            why="",
            made_by=self._by,
            source=source,
            needs=needs,
        )

    def enter(
        self, one: Standing, state: State, others: Sequence[Standing], why: str, evidence: Any = None
    ) -> Standing:
        """Move a version, and retire those of the same playbook whose place it takes."""
        for other in others:
            ends = _ENDS.get(state, frozenset())
            # What is newer and still on its way there is nobody's to end.
            ends = ends if other.version < one.version else ends & _HAD_ITS_TURN
            if other.version != one.version and other.state in ends:
                self.to(other, State.RETIRED, f"version {one.version} takes its place")
        moved = self.to(one, state, why, evidence)
        self.entered.append(moved)
        self.left.remove(moved)
        return moved

    def to(self, one: Standing, state: State, why: str, evidence: Any = None) -> Standing:
        """Move one version alone."""
        self._number += 1
        before = one.state if state is State.PAUSED and one.state in SERVED else None
        moved = replace(
            one,
            state=state,
            before=before,
            number=self._number,
            moved_at=self._now,
            moved_by=self._by,
            why=why,
            served_from=one.served_from or (self._now if state in SERVED else None),
        )
        self._moved[one.playbook, one.version] = moved
        earlier = None if one.number == 0 and one.state is State.DRAFT else one.state.value
        self._changes.append(
            PlaybookChange(one.playbook, one.version, state.value, earlier, self._by, why, evidence)
        )
        self.left.append(moved)
        return moved

    def write(self) -> None:
        """Keep everything, and tell of it in the ledger."""
        added = [
            (self._moved[key], body.model_dump_json())
            for key, body in self._new.items()
            if key in self._moved
        ]
        repository.add_versions(self._connection, added)
        repository.move(self._connection, [one for key, one in self._moved.items() if key not in self._new])
        facts = [
            NewFact(Kind.CHANGE, new_id(self._now), LABEL, None, self._now, change)
            for change in self._changes
        ]
        ledger.append(self._connection, facts, self._now)


def retired_by_hand(versions: Sequence[Standing]) -> bool:
    """Whether somebody retired a playbook, so that none of its versions is served until somebody does."""
    if any(one.state in SERVED | {State.PAUSED} for one in versions):
        return False
    newest = max(versions, key=lambda one: one.number, default=None)
    return newest is not None and newest.state is State.RETIRED and newest.moved_by != FOLDER
