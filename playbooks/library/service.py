"""The library as people work on it: imports, drafts, reviews, moves, differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection

from playbooks.errors import MoveRefused, SecondPersonNeeded, UnknownPlaybook
from playbooks.library import drafts, house_rules, repository
from playbooks.library.approval import Approval, Reach, above
from playbooks.library.changes import Moves
from playbooks.library.diff import Change, differences
from playbooks.library.documents import Draft, VersionBody
from playbooks.library.drafts import Check, OpenDraft
from playbooks.library.house_rules import HouseRules
from playbooks.library.importing import Imported, approval_of, approved_before, import_library
from playbooks.library.lifecycle import SERVED, State, target
from playbooks.library.loading import Loader
from playbooks.library.meant import meant, unknown
from playbooks.library.problems import Problem, refuse
from playbooks.library.repository import DraftRow, Standing
from playbooks.library.serving import Library
from playbooks.library.shelf import windows_of, with_shelf
from playbooks.models import Playbook
from storage.clock import Clock
from storage.engine import Database
from storage.writer import TURN_ROWS, Lane

T = TypeVar("T")

_BY_SECOND_PERSON = frozenset({"approve", "reject"})


class Entry(msgspec.Struct, frozen=True):
    """A playbook: its versions that are not retired and the newest one, and who edits a draft of it."""

    id: str
    versions: list[Standing]
    draft: DraftRow | None


class LibraryService:
    """One library in one database; what is wrong changes nothing."""

    def __init__(self, database: Database, clock: Clock, check: Check, reach: Reach) -> None:
        """`check` says what is wrong with playbooks beyond each by itself, `reach` how many users one has."""
        self._database, self._clock = database, clock
        self.check, self._reach = check, reach
        self.rules = HouseRules(database)

    def import_(
        self,
        draft: Draft,
        *,
        by: str,
        source: str,
        publish: bool,
        whole: bool = False,
        approval: Approval | None = None,
    ) -> Imported:
        """Bring a library in (see `import_library`).

        Raises:
            LibraryError: something in it does not fit; nothing was imported.
        """
        refuse(self.problems(draft), "nothing was imported")
        now = self._clock.now()

        def work(connection: Connection) -> Imported:
            return import_library(
                connection,
                draft,
                self._reach,
                by=by,
                source=source,
                now=now,
                publish=publish,
                whole=whole,
                approval=approval,
            )

        return self._write(work, rows=3 * len(draft.playbooks))

    def problems(self, draft: Draft) -> Sequence[Problem]:
        """Return what is wrong with a draft beside the library; its constraints may name what is there."""
        if draft.constraints is not None:
            documents = self.documents(self.entries())
            with self._database.read() as connection:
                draft = replace(draft, beside=with_shelf(connection, *documents.values()))
        return self.check(draft)

    def entries(self) -> list[Entry]:
        """Return every playbook and draft, by id."""
        with self._database.read() as connection:
            standings, open_ = repository.current(connection), repository.drafts(connection)
        by_id: dict[str, list[Standing]] = {}
        for one in standings:
            by_id.setdefault(one.playbook, []).append(one)
        editing = {one.playbook: one for one in open_}
        return [
            Entry(name, by_id.get(name, []), editing.get(name)) for name in sorted(by_id.keys() | editing)
        ]

    def entry(self, playbook: str) -> Entry:
        """Return one playbook. Raises UnknownPlaybook."""
        versions = self.versions(playbook)
        with self._database.read() as connection:
            return Entry(playbook, versions[::-1], repository.draft(connection, playbook))

    def in_state(self, state: State) -> list[Standing]:
        """Return the versions that stand somewhere."""
        with self._database.read() as connection:
            return [one for one in repository.current(connection) if one.state is state]

    def versions(self, playbook: str) -> list[Standing]:
        """Return all versions of a playbook, newest first. Raises UnknownPlaybook."""
        with self._database.read() as connection:
            found = repository.standings(connection, playbook)
            if not found and repository.draft(connection, playbook) is None:
                raise unknown(playbook)
        return found[::-1]

    def version(self, playbook: str, version: int | None = None) -> tuple[Standing, VersionBody]:
        """Return a version: that of the number, else the newest one served, else the newest.

        Raises:
            UnknownPlaybook: there is none.
        """
        found = self.versions(playbook)
        if version is None:
            one = next((one for one in found if one.state in SERVED), found[0] if found else None)
        else:
            one = next((one for one in found if one.version == version), None)
        if one is None:
            raise unknown(playbook, version)
        with self._database.read() as connection:
            body = repository.version_body(connection, playbook, one.version)
        if body is None:
            raise unknown(playbook, version)
        return one, body

    def documents(self, entries: Sequence[Entry]) -> dict[str, Playbook]:
        """Return each playbook as in its newest version that is served, else its newest, else its draft."""
        shown = {
            one.id: next((v for v in reversed(one.versions) if v.state in SERVED), one.versions[-1])
            for one in entries
            if one.versions
        }
        with self._database.read() as connection:
            bodies = repository.bodies(connection, [(name, one.version) for name, one in shown.items()])
        found = {name: body.playbook for (name, _), body in bodies.items()}
        for one in entries:
            if one.id not in found and one.draft is not None:
                found[one.id] = Playbook.model_validate_json(one.draft.body)
        return found

    def export(self) -> dict[str, Any]:
        """Return the newest version of every playbook that is not retired, as one document.

        An offer or content of which these versions have different states is that of the newest.
        """
        with self._database.read() as connection:
            newest = {
                one.playbook: one for one in repository.current(connection) if one.state is not State.RETIRED
            }
            bodies = repository.bodies(connection, [(name, one.version) for name, one in newest.items()])
            windows = windows_of(connection)
            version, constraints = house_rules.constraints_of(connection)
        in_order = sorted(bodies.items(), key=lambda item: newest[item[0][0]].number)
        offers = {one.id: one for _, body in in_order for one in body.offers}
        contents = {one.id: one for _, body in in_order for one in body.contents}
        said = {"constraints": house_rules.written(constraints)} if version else {}
        return said | {
            "offers": [offers[name].written() for name in sorted(offers)],
            "contents": [contents[name].written() for name in sorted(contents)],
            "playbooks": [bodies[key].playbook.written() for key in sorted(bodies)],
            "windows": windows.written(),
        }

    def served(self) -> Library:
        """Return what decisions are made from."""
        with self._database.read() as connection:
            return Loader().load(connection)

    def diff(self, playbook: str, before: str, after: str) -> list[Change]:
        """Return what differs between two sides: `draft`, `served`, or the number of a version.

        Raises:
            UnknownPlaybook: there is no such side.
        """
        return differences(*(self.side(playbook, one) for one in (before, after)))

    def draft(self, playbook: str) -> OpenDraft:
        """Return the draft of a playbook. Raises UnknownPlaybook."""
        with self._database.read() as connection:
            return drafts.read_draft(connection, playbook, self.check)

    def save(self, playbook: Playbook, etag: str | None, by: str) -> OpenDraft:
        """Keep a draft (see `save_draft`)."""
        now = self._clock.now()
        return self._write(
            lambda connection: drafts.save_draft(connection, playbook, etag, self.check, by=by, now=now)
        )

    def discard(self, playbook: str, etag: str | None) -> None:
        """Forget a draft (see `discard_draft`)."""
        self._write(lambda connection: drafts.discard_draft(connection, playbook, etag))

    def submit(self, playbook: str, by: str, why: str = "") -> Standing:
        """Hand the draft of a playbook in; below the thresholds it is approved by that.

        Raises:
            UnknownPlaybook: it has no draft.
            LibraryError: something in it does not fit; it stays a draft.
        """
        now = self._clock.now()
        return self._write(lambda connection: self._submit(connection, playbook, by, why, now))

    def move(self, playbook: str, move: str, by: str, why: str = "", version: int | None = None) -> Standing:
        """Move a version: that of the number, else the newest that the move can be about.

        To publish a playbook with a draft hands that in first, unless a version is named; the answer is then
        in review if a second person has to approve it.

        Raises:
            UnknownPlaybook, MoveRefused: there is no such version, or it can't be moved so.
            SecondPersonNeeded: whoever made a version can't approve it.
        """
        now = self._clock.now()

        def work(connection: Connection) -> Standing:
            repository.hold(connection)
            if move == "submit":
                return self._submit(connection, playbook, by, why, now)
            if move == "publish" and version is None and repository.draft(connection, playbook) is not None:
                one = self._submit(connection, playbook, by, why, now)
                if one.state is State.IN_REVIEW:
                    return one
            return self._move(connection, playbook, move, by, why, version, now)

        return self._write(work)

    def settle(self, version: Standing, move: str, by: str, why: str, report: Any) -> Standing | None:
        """Move a version for what was found of it, unless somebody moved it meanwhile; keep the report."""
        now = self._clock.now()

        def work(connection: Connection) -> Standing | None:
            repository.hold(connection)
            found = repository.standings(connection, version.playbook)
            if version not in found:
                return None
            moves = Moves(connection, by, now)
            state = target(move, version.state, name=version.name)
            reported = msgspec.structs.replace(version, report=msgspec.json.encode(report).decode())
            moved = moves.enter(reported, state, found, why, report)
            moves.write()
            return moved

        return self._write(work)

    def _submit(self, connection: Connection, playbook: str, by: str, why: str, now: datetime) -> Standing:
        repository.hold(connection)
        row = repository.draft(connection, playbook)
        if row is None:
            raise UnknownPlaybook(f"the playbook {playbook!r} has no draft to hand in")
        whole = with_shelf(connection, Playbook.model_validate_json(row.body))
        refuse(self.check(whole), "the draft was not handed in")
        body = whole.body(whole.playbooks[0])
        others = repository.standings(connection, playbook)
        reasons = self._reasons(connection, body, others)
        moves = Moves(connection, by, now)
        number = (repository.latest_version_number(connection, playbook) or 0) + 1
        new = moves.new(playbook, number, body, source="api", needs=reasons)
        moved = moves.enter(new, State.IN_REVIEW if reasons else State.APPROVED, others, why)
        moves.write()
        repository.drop_draft(connection, playbook)
        return moved

    def _move(
        self,
        connection: Connection,
        playbook: str,
        move: str,
        by: str,
        why: str,
        version: int | None,
        now: datetime,
    ) -> Standing:
        others = repository.standings(connection, playbook)
        one = meant(playbook, others, move, version)
        to = target(move, one.state, name=one.name, before=one.before)
        if move in _BY_SECOND_PERSON and one.made_by == by:
            raise SecondPersonNeeded(f"{one.name} was made by {by}: somebody else has to {move} it")
        body = repository.version_body(connection, playbook, one.version)
        if move == "pilot" and (body is None or body.playbook.pilot is None):
            raise MoveRefused(f"{one.name} has no `pilot`: say there for whom it runs and what is expected")
        if move == "publish" and one.state is State.RETIRED and one.served_from is None:
            raise MoveRefused(f"{one.name} was never live: make a draft of it, and hand that in")
        if to in SERVED and one.approved_by is None and one.served_from is None and body is not None:
            # Handed in when it was below the thresholds; it may reach more users now.
            reasons = self._reasons(connection, body, others)
            if reasons:
                one, to = msgspec.structs.replace(one, needs=reasons), State.IN_REVIEW
        moves = Moves(connection, by, now)
        if move == "approve":
            one = msgspec.structs.replace(one, approved_by=by)
        if to is State.DRAFT:
            to = State.RETIRED
            if repository.draft(connection, playbook) is None and body is not None:
                draft = DraftRow(playbook, 1, body.playbook.model_dump_json(), one.version, now, one.made_by)
                repository.keep_draft(connection, draft)
        moved = moves.enter(one, to, others, why)
        moves.write()
        return moved

    def _reasons(
        self, connection: Connection, body: VersionBody, others: Sequence[Standing]
    ) -> tuple[str, ...]:
        before = approved_before(connection, others)
        return tuple(above(approval_of(connection), body, self._reach, before))

    def side(self, playbook: str, side: str) -> VersionBody:
        """Return what `draft`, `served`, or the number of a version consists of. Raises UnknownPlaybook."""
        if side != "draft":
            return self.version(playbook, None if side == "served" else int(side))[1]
        with self._database.read() as connection:
            open_ = drafts.read_draft(connection, playbook, lambda _: ())
            return with_shelf(connection).body(open_.playbook)

    def _write(self, work: Callable[[Connection], T], rows: int = 5) -> T:
        # All or nothing is one transaction, however large; it counts as a whole turn of the writer.
        return self._database.write(work, rows=min(rows, TURN_ROWS), lane=Lane.REQUEST)
