"""Takes a change back, by a change of its own."""

from __future__ import annotations

from typing import Any

from audiences.errors import AudiencesError
from audiences.selection.catalog import Catalogs
from audiences.selection.lists import Lists
from decision.optimising.instead import instead
from decision.shaping import Shapings
from learning import change_repository, version_repository
from learning.challengers.promoting import Promoting
from learning.errors import NotUndone
from learning.optimisation_log import Entry, entry_of
from playbooks.controls.models import Scope
from playbooks.controls.service import ControlService
from playbooks.errors import LibraryError, MoveRefused
from playbooks.library.documents import Draft
from playbooks.library.house_rules import constraints_before, take_back_constraints
from playbooks.library.lifecycle import State
from playbooks.library.service import LibraryService
from storage.clock import Clock
from storage.engine import Database
from storage.ledger import Fact
from storage.writer import Lane

_PAGE = 500


class Undoing:
    """Takes back changes of the library, policies, what shapes offers, audiences, and of what was stopped."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        library: LibraryService,
        controls: ControlService,
        promoting: Promoting,
        audiences: Catalogs,
        lists: Lists,
        shapings: Shapings,
    ) -> None:
        self._database, self._clock = database, clock
        self._library, self._controls, self._promoting = library, controls, promoting
        self._audiences, self._lists, self._shapings = audiences, lists, shapings

    def undo(self, change_id: str, by: str, why: str = "") -> Entry:
        """Take a change back and return the newest entry of the log, which did it.

        Raises:
            UnknownChange: there is none of this id.
            NotUndone: nothing takes it back, or the thing has changed since; the message says what to do.
        """
        with self._database.read() as connection:
            fact = change_repository.change(connection, change_id)
        entry = entry_of(fact)
        reason = f"takes back {change_id}" + (f": {why}" if why else "")
        body: dict[str, Any] = fact.decode(dict[str, Any])
        if not entry.undo:
            with self._database.read() as connection:
                way = instead(connection, entry, body, self._promoting.slot)
            raise NotUndone(f"a change of {entry.what} is not taken back here: {way}")
        match fact.label:
            case "playbook":
                self._playbook(fact, body, entry.undo, by, reason)
            case "policy_in_charge":
                self._promoting.take_back(change_id, by, reason)
            case "constraints":
                self._constraints(int(body["version"]), by, reason)
            case "policy_published" | "member_in_charge":
                self._weights(str(body["version"]), by, reason)
            case "audience":
                self._audience(body, by, reason)
            case "setting":
                self._shaping(body, by, reason)
            case _:
                self._controls.resume(Scope(body["scope"]), body["target"], by=by, why=reason)
        with self._database.read() as connection:
            return entry_of(change_repository.changes_before(connection, [fact.label], None, 1)[0])

    def _weights(self, version: str, by: str, why: str) -> None:
        now = self._clock.now()
        self._database.write(
            lambda connection: version_repository.take_back(connection, version, now, by, why),
            rows=2,
            lane=Lane.REQUEST,
        )

    def _audience(self, body: dict[str, Any], by: str, why: str) -> None:
        name, version, now = str(body["id"]), int(body["version"]), self._clock.now()
        try:
            if body["what"] == "audience list":
                self._lists.take_back(name, version, by, now, why)
            else:
                self._audiences.take_back(name, version, by, now, why)
        except AudiencesError as error:
            raise NotUndone(str(error)) from error

    def _shaping(self, body: dict[str, Any], by: str, why: str) -> None:
        try:
            self._shapings.take_back(str(body["id"]), body["before"], body["definition"], by, why)
        except (LibraryError, MoveRefused) as error:
            raise NotUndone(str(error)) from error

    def _constraints(self, version: int, by: str, why: str) -> None:
        with self._database.read() as connection:
            before = constraints_before(connection, version)
        if wrong := self._library.problems(Draft((), {}, {}, constraints=before)):
            raise NotUndone(f"the constraints from before do not fit the library any more: {wrong[0]}")
        now = self._clock.now()
        try:
            self._database.write(
                lambda connection: take_back_constraints(connection, version, by, now, why),
                rows=2,
                lane=Lane.REQUEST,
            )
        except MoveRefused as error:
            raise NotUndone(str(error)) from error

    def _playbook(self, fact: Fact, body: dict[str, Any], move: str, by: str, why: str) -> None:
        playbook, version = str(body["playbook"]), int(body["version"])
        standing, _ = self._library.version(playbook, version)
        if standing.state.value != body["state"]:
            raise NotUndone(
                f"{standing.name} is {standing.state.value} by now and not {body['state']}: take the later "
                "change back first"
            )
        if move == "publish" and body["state"] == State.LIVE.value:
            earlier = self._live_before(fact, playbook, version)
            if earlier is None:
                self._library.move(playbook, "retire", by, why, version)
            else:
                self._library.move(playbook, "publish", by, why, earlier)
            return
        self._library.move(playbook, move, by, why, version)

    def _live_before(self, fact: Fact, playbook: str, version: int) -> int | None:
        """Return the version that the one which went live took the place of, None if it was the first."""
        before: int | None = fact.seq
        while True:
            with self._database.read() as connection:
                page = change_repository.changes_before(connection, ["playbook"], before, _PAGE)
            for one in page:
                body: dict[str, Any] = one.decode(dict[str, Any])
                if body["playbook"] != playbook or body["version"] == version:
                    continue
                if body["state"] == State.LIVE.value:
                    return int(body["version"])
                if body["state"] == State.RETIRED.value and one.occurred_at != fact.occurred_at:
                    # Somebody had taken it away before: nothing was live.
                    return None
            if not page:
                return None
            before = page[-1].seq
