"""Champion and challengers of one service, put together."""

from __future__ import annotations

from audiences.identity.people import People
from decision.files import LibraryFiles
from learning.challengers.gathering import Gathering
from learning.challengers.promoting import Promoting
from learning.errors import VersionTaken
from learning.training import Training
from learning.versions import PolicyVersion
from storage.clock import Clock
from storage.engine import Database


def open_promoting(database: Database, clock: Clock, files: LibraryFiles, people: People) -> Promoting:
    """Return who keeps the policies of a library in and out of charge."""
    rules, specs = files.promotion, files.policies
    gathering = Gathering(database, specs, rules, files.protection, people)
    return Promoting(database, clock, files.policy.id, specs, rules, gathering)


def first_in_charge(
    database: Database, clock: Clock, files: LibraryFiles, promoting: Promoting
) -> PolicyVersion:
    """Return the version that decides as a service starts; every policy of the library has one then."""
    promoting.leave_gone()
    versions = {
        name: _version_of(Training(database, spec, files.vocabularies), clock)
        for name, spec in files.policies.items()
    }
    return versions[promoting.charge().policy]


def _version_of(training: Training, clock: Clock) -> PolicyVersion:
    while True:
        try:
            return training.in_charge(clock.now())
        except VersionTaken:
            # Another process that starts now was faster; its version is there to be read.
            continue
