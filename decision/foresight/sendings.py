"""What drawn arms come to: their flows are played through the coming days, and windows move messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from audiences.rules import Schema
from delivery.models import SendMessage
from delivery.plans import Plan
from delivery.simulator import messages
from delivery.view import Views
from playbooks.flow import Send
from playbooks.library import VersionBody
from playbooks.library.repository import documents
from playbooks.library.service import LibraryService
from playbooks.library.shelf import WINDOWS
from playbooks.rehearsal.simulation import Contact, Sending
from playbooks.windows import Hold, Place, Ruling, Windows, ruling_of
from playbooks.windows.document import Countries
from storage.engine import Database

# Returns by id where users live.
Places = Callable[[Sequence[str], Countries], Mapping[str, Place]]


class Going(NamedTuple):
    """Messages in the order of their runs; by the rule of each window, the moments at which it skips one."""

    sent: Sequence[Sending]
    skipped: Mapping[str, Sequence[datetime]]


class Sendings:
    """Plays the flows of contacts for users as they are now."""

    def __init__(
        self,
        database: Database,
        library: LibraryService,
        schema: Schema,
        views: Views,
        places: Places,
    ) -> None:
        """`schema` is what rules of flows may speak of, `places` where users live."""
        self._database, self._library, self._schema = database, library, schema
        self._views, self._places = views, places

    def of(self, contacts: Sequence[Contact], names: Sequence[str], now: datetime, until: datetime) -> Going:
        """Return what goes out before `until`, if nothing happens that flows wait for.

        What a flow without a message gives, is shown at once.

        Args:
            names: ids of users by place.

        Raises:
            FeaturesUnavailable: it can't be read where users live.
        """
        with self._database.read() as connection:
            text = documents(connection, WINDOWS).get(WINDOWS)
        windows = Windows() if text is None else Windows.model_validate_json(text)
        users = [names[place] for place in sorted({one.user for one in contacts})]
        views, places = self._views.read(users, now), self._places(users, windows.countries)
        known: dict[tuple[str, int], tuple[Plan, VersionBody]] = {}
        sent: list[Sending] = []
        skipped: dict[str, list[datetime]] = {}
        for contact in contacts:
            plan, body = self._plan(known, contact)
            if not any(isinstance(state, Send) for state in plan.flow.states.values()):
                sent.append(Sending(contact.at, contact.user, contact.arm.channel))
                continue
            user = names[contact.user]
            for one in messages(plan, contact.arm, user, contact.at, views[user], until):
                ruled = _ruled(windows, body, one, places[user])
                at = ruled.until if isinstance(ruled, Hold) else one.at
                if ruled is not None and not isinstance(ruled, Hold):
                    skipped.setdefault(ruled.rule, []).append(one.at)
                elif at < until:
                    sent.append(Sending(at, contact.user, one.channel))
        return Going(sent, skipped)

    def _plan(
        self, known: dict[tuple[str, int], tuple[Plan, VersionBody]], contact: Contact
    ) -> tuple[Plan, VersionBody]:
        key = (contact.arm.playbook, contact.version)
        if key not in known:
            _, body = self._library.version(*key)
            known[key] = Plan.of(body, contact.version, self._schema), body
        return known[key]


def _ruled(windows: Windows, body: VersionBody, message: SendMessage, place: Place) -> Ruling:
    document = body.playbook
    named = document.windows_of(message.state)
    return ruling_of(windows, document.purpose, named, message.channel, place, message.at)
