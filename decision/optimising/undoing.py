"""Takes a change back, by a change of its own."""

from __future__ import annotations

from typing import Any

from learning import change_repository
from learning.challengers.promoting import Promoting
from learning.errors import NotUndone
from learning.optimisation_log import Entry, entry_of
from playbooks.controls.models import Scope
from playbooks.controls.service import ControlService
from playbooks.library.lifecycle import State
from playbooks.library.service import LibraryService
from storage.engine import Database
from storage.ledger import Fact

_PAGE = 500


class Undoing:
    """Takes back changes of playbooks, of who is in charge, and of what was stopped."""

    def __init__(
        self, database: Database, library: LibraryService, controls: ControlService, promoting: Promoting
    ) -> None:
        self._database, self._library, self._controls = database, library, controls
        self._promoting = promoting

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
        if not entry.undo:
            raise NotUndone(f"a change of {entry.what} is not taken back here: {_instead(entry)}")
        body: dict[str, Any] = fact.decode(dict[str, Any])
        if fact.label == "playbook":
            self._playbook(fact, body, entry.undo, by, reason)
        elif fact.label == "policy_in_charge":
            self._promoting.take_back(change_id, by, reason)
        else:
            self._controls.resume(Scope(body["scope"]), body["target"], by=by, why=reason)
        with self._database.read() as connection:
            return entry_of(change_repository.changes_before(connection, [fact.label], None, 1)[0])

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


def _instead(entry: Entry) -> str:
    said = {
        "policy_published": "weights are what was learned; the next training publishes the next version",
        "policy_in_charge": (
            "whoever takes charge needs proof; promote a policy with POST /v1/policies/{id}/promote"
        ),
        "audience": f"send the earlier definition with PUT /v1/audiences/{entry.thing}",
        "control": "resume or stop it with /v1/controls",
        "playbook": "make a draft of it",
    }
    return said.get(entry.what, "change it where it was changed")
