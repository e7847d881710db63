"""What there is to stop in a service: its playbooks, channels and users."""

from __future__ import annotations

from collections.abc import Callable, Collection

from sqlalchemy import Connection

from audiences.repository import is_known
from playbooks.controls import Scope
from playbooks.controls.service import ControlService, Targets
from playbooks.library.repository import current
from playbooks.suggesting import closest
from storage.clock import Clock
from storage.engine import Database


def open_controls(
    database: Database,
    clock: Clock,
    canonical: Callable[[str], str] = str,
    *,
    channels: Collection[str],
) -> ControlService:
    """Return the controls of a database.

    Args:
        canonical: says under which id a user is known.
        channels: the names of those there are.
    """

    def playbook(connection: Connection, name: str) -> str | None:
        known = {one.playbook for one in current(connection)}
        return None if name in known else f"there is no playbook {name!r}{closest(name, known)}"

    def channel(_connection: Connection, name: str) -> str | None:
        return None if name in channels else f"there is no channel {name!r}{closest(name, channels)}"

    def user(connection: Connection, name: str) -> str | None:
        return None if is_known(connection, name) else f"nobody is known by the user id {name!r}; check it"

    known = {Scope.PLAYBOOK: playbook, Scope.CHANNEL: channel, Scope.USER: user}
    return ControlService(database, clock, Targets(known, canonical))
