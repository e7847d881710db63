"""Champion and challengers of one service, put together."""

from __future__ import annotations

from audiences.identity.people import People
from decision.files import LibraryFiles
from learning.challengers.gathering import Gathering
from learning.challengers.promoting import Promoting
from storage.clock import Clock
from storage.engine import Database


def open_promoting(database: Database, clock: Clock, files: LibraryFiles, people: People) -> Promoting:
    """Return who keeps the policies of a library in and out of charge."""
    rules, specs = files.promotion, files.policies
    gathering = Gathering(database, specs, rules, files.protection, people)
    return Promoting(database, clock, files.policy.id, specs, rules, gathering)
