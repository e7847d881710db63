"""Brings a whole library in: all of it, or nothing. Each playbook that changed becomes a version.

What an operator decided holds: a paused playbook stays paused, a retired one waits to be published, and what
people published since the folder said the same is not undone. A version above the thresholds waits in review
while the version before it goes on to be served.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import msgspec
from pydantic import BaseModel
from sqlalchemy import Connection

from playbooks.content import repository as content_repository
from playbooks.library import repository
from playbooks.library.approval import Approval, Reach, above
from playbooks.library.changes import FOLDER, Moves, retired_by_hand
from playbooks.library.documents import Draft, VersionBody
from playbooks.library.folder_said import FolderSaid
from playbooks.library.house_rules import keep_constraints, said_before
from playbooks.library.lifecycle import State
from playbooks.library.problems import Problem, refuse
from playbooks.library.references import named_windows
from playbooks.library.repository import Standing
from playbooks.library.shelf import CONTENTS, OFFERS, WINDOWS, windows_of
from playbooks.suggesting import closest

# How it is told why a version is retired whose file is not there any more.
GONE = "it is gone from the library"

_APPROVAL = "approval"


class Imported(msgspec.Struct, frozen=True):
    """What an import did, by the names of versions."""

    live: list[str]
    pilot: list[str]
    in_review: Mapping[str, tuple[str, ...]]
    waiting: list[str]
    paused: list[str]
    retired: list[str]
    unchanged: int


def import_library(
    connection: Connection,
    draft: Draft,
    reach: Reach,
    *,
    by: str,
    source: str,
    now: datetime,
    publish: bool,
    whole: bool = False,
    approval: Approval | None = None,
) -> Imported:
    """Keep a library in one transaction, which the caller ends.

    Args:
        by: who does it.
        source: where it comes from; playbooks of the source `folder` that are gone from it are retired.
        publish: serve what may be served without a second person; else new versions wait as approved.
        whole: the library has all playbooks of its source.
        approval: thresholds to keep; None: those that were kept.

    Raises:
        LibraryError: a playbook that is kept, or is to be, names a window that there is not.
    """
    repository.hold(connection)
    _keep_windows(connection, draft, by, now, whole=whole)
    if approval is not None:
        keep_approval(connection, approval, by, now)
    said = FolderSaid(connection, now) if by == FOLDER else None
    _keep_documents(connection, draft, by, now, said)
    if draft.constraints is not None and not (said and said_before(connection, draft.constraints, by)):
        keep_constraints(connection, draft.constraints, by, now)
    thresholds = approval_of(connection)
    moves = Moves(connection, by, now)
    standing: dict[str, list[Standing]] = {}
    for one in repository.current(connection):
        standing.setdefault(one.playbook, []).append(one)
    latest = repository.latest_versions(connection)
    unchanged = 0
    for playbook in draft.playbooks:
        body = draft.body(playbook)
        versions = standing.get(playbook.id, [])
        number, recorded = latest.get(playbook.id, (0, None))
        again = said is not None and said.again("playbook", playbook.id, body, VersionBody.means)
        # What a version says, not how: fields that were added since are at their defaults in it.
        if recorded is not None and (again or VersionBody.model_validate_json(recorded).means(body)):
            newest = versions[-1]
            if publish and newest.state is State.RETIRED and newest.moved_by == FOLDER and by == FOLDER:
                moves.enter(newest, first_state(body), versions, "it is in the library folder again")
            else:
                unchanged += 1
            continue
        before = approved_before(connection, versions) if thresholds.content else None
        reasons = tuple(above(thresholds, body, reach, before))
        state = _state(body, versions, reasons, publish=publish)
        new = moves.new(playbook.id, number + 1, body, source=source, needs=reasons)
        moves.enter(new, state, versions, "")
    if whole:
        for one in _gone(draft, standing, source):
            moves.to(one, State.RETIRED, f"{GONE} {source}")
    moves.write()
    if said is not None:
        said.keep()
    return _report(moves, unchanged)


def approved_before(connection: Connection, versions: Sequence[Standing]) -> VersionBody | None:
    """Return the newest of some versions that was approved by somebody, or served."""
    known = [one for one in versions if one.approved_by is not None or one.served_from is not None]
    if not known:
        return None
    newest = max(known, key=lambda one: one.version)
    return repository.version_body(connection, newest.playbook, newest.version)


def approval_of(connection: Connection) -> Approval:
    """Return the thresholds that hold; without a document, none."""
    kept = repository.documents(connection, _APPROVAL)
    return Approval.model_validate_json(kept[_APPROVAL]) if kept else Approval()


def keep_approval(connection: Connection, approval: Approval, by: str, now: datetime) -> None:
    """Keep thresholds in the place of those before."""
    if approval != approval_of(connection):
        repository.keep_documents(connection, _APPROVAL, {_APPROVAL: approval.model_dump_json()}, by, now)


def first_state(body: VersionBody) -> State:
    """Return where a version goes when it is to be served: to its pilot, if it has one."""
    return State.LIVE if body.playbook.pilot is None else State.PILOT


def _state(body: VersionBody, versions: list[Standing], reasons: tuple[str, ...], *, publish: bool) -> State:
    if reasons:
        return State.IN_REVIEW
    if not publish or retired_by_hand(versions):
        return State.APPROVED
    if any(one.state is State.PAUSED for one in versions):
        return State.PAUSED
    return first_state(body)


def _gone(draft: Draft, standing: Mapping[str, list[Standing]], source: str) -> Iterator[Standing]:
    here = {playbook.id for playbook in draft.playbooks}
    for playbook, versions in standing.items():
        if playbook not in here:
            yield from (one for one in versions if one.source == source and one.state is not State.RETIRED)


def _keep_windows(connection: Connection, draft: Draft, by: str, now: datetime, *, whole: bool) -> None:
    """Keep the windows of a library in the place of those before; what names one must find it."""
    kept = windows_of(connection)
    windows = kept if draft.windows is None else draft.windows
    named = {playbook.id: playbook for playbook in draft.playbooks}
    if windows != kept and not whole:
        standing = [one for one in repository.current(connection) if one.state is not State.RETIRED]
        bodies = repository.bodies(connection, [(one.playbook, one.version) for one in standing])
        named = {key[0]: body.playbook for key, body in bodies.items()} | named
    known = [one.id for one in windows.windows]
    refuse(
        [
            Problem(f"playbooks/{name}", f"there is no window {window!r}{closest(window, known)}", field)
            for name, playbook in named.items()
            for field, window in named_windows(playbook)
            if window not in known
        ],
        "nothing was imported",
    )
    if windows != kept:
        repository.keep_documents(connection, WINDOWS, {WINDOWS: windows.model_dump_json()}, by, now)


def _keep_documents(
    connection: Connection, draft: Draft, by: str, now: datetime, said: FolderSaid | None
) -> None:
    shared: tuple[tuple[str, Mapping[str, BaseModel]], ...] = (
        (OFFERS, draft.offers),
        (CONTENTS, draft.contents),
    )
    for kind, documents in shared:
        kept = repository.documents(connection, kind)
        news = {
            name: one
            for name, one in documents.items()
            if said is None or not said.again(kind, name, one) or name not in kept
        }
        written = {name: one.model_dump_json() for name, one in news.items()}
        changed = {name: body for name, body in written.items() if kept.get(name) != body}
        repository.keep_documents(connection, kind, changed, by, now)
        if kind == CONTENTS:
            content_repository.add(connection, changed, by, now)


def _report(moves: Moves, unchanged: int) -> Imported:
    names: dict[State, list[str]] = {}
    for one in moves.entered:
        names.setdefault(one.state, []).append(one.name)
    gone = [one.name for one in moves.left if one.state is State.RETIRED]
    return Imported(
        live=names.get(State.LIVE, []),
        pilot=names.get(State.PILOT, []),
        in_review={one.name: one.needs for one in moves.entered if one.state is State.IN_REVIEW},
        waiting=names.get(State.APPROVED, []),
        paused=names.get(State.PAUSED, []),
        retired=gone,
        unchanged=unchanged,
    )
