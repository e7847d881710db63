"""Rehearsals against what a service serves, or would serve if it ran on a database and folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from audiences.accounts.primary import PrimaryAccounts
from audiences.features import FeastFeatureReader
from audiences.identity.people import JoinedPeople, PersonsProfiles
from audiences.selection.catalog import Catalogs
from audiences.selection.memberships import Memberships
from audiences.traits.service import Traits
from decision.files import DECIDE, LibraryFiles, read_files
from decision.fitting import Fitting
from decision.foresight.crowds import Crowds
from decision.foresight.inquiries import Inquiries
from decision.foresight.looking_into import LookingInto
from decision.foresight.rehearsing import Rehearsals
from decision.reach import AudienceReach
from decision.recipients import KnownUsers
from decision.settings import Settings
from decision.surroundings import Surroundings
from feature_repo.store import FeatureRepository
from learning import version_repository
from learning.policy import LearnedPolicy
from learning.versions import cold_start
from playbooks.controls.repository import in_force
from playbooks.counters import open_counters
from playbooks.library import Library
from playbooks.library.loading import Loader
from playbooks.library.service import LibraryService
from playbooks.matching import Snapshot
from storage.clock import Clock
from storage.engine import Database
from storage.errors import ConfigurationError

if TYPE_CHECKING:
    from decision.wiring import Service


def rehearsals_of(service: Service) -> Rehearsals:
    """Return rehearsals against what a service serves."""
    people, memberships = service.identity.people, service.audiences.memberships
    reader = FeastFeatureReader(service.features, DECIDE, service.clock)
    zones, accounts = service.files.triggers.zones, service.accounts
    looking = LookingInto(service.database, people, reader, zones)
    surroundings = Surroundings(service.database, service.counters, people, accounts, zones)
    return Rehearsals(
        service.clock,
        service.library,
        lambda: service.decider.snapshot,
        Crowds(service.database, memberships, people.canonicals, accounts, looking),
        Inquiries(memberships, reader, surroundings),
        service.recipients,
        service.files.triggers,
    )


@contextmanager
def rehearsals_at_hand(settings: Settings, database: Database, clock: Clock) -> Iterator[Rehearsals]:
    """Give rehearsals against what the database says is served, by the policy in charge.

    Raises:
        ConfigurationError: no service ever ran with the folder, so that there are no features in it.
    """
    if not (settings.data / "features" / "registry.db").exists():
        raise ConfigurationError(
            f"there are no features in {settings.data / 'features'}, by which the policy decides: start the "
            "service once, or ask one that runs with --url"
        )
    files = read_files(settings.library_folder)
    people = JoinedPeople(database)
    memberships = Memberships(people.canonical)
    loader = Loader(settings.seed, people.canonical, files.policy.placements, files.asked.schema)
    with database.read() as connection:
        memberships.load(connection)
        library, controls = loader.newer(connection) or Library(()), in_force(connection)
    catalogs = Catalogs(database, files.definitions, files.schema)
    check = Fitting(
        lambda: catalogs.read().specs, files.policy, files.vocabulary, files.asked, files.in_flows
    )
    snapshot = Snapshot(
        library,
        _policy(database, files, clock),
        settings.seed,
        settings.holdout,
        controls,
        files.policy.guards,
    )
    features = FeatureRepository(
        settings.data / "features", files.specs, online=(DECIDE,), online_url=settings.online_url
    )
    reader = FeastFeatureReader(features, DECIDE, clock)
    accounts = PrimaryAccounts(database, people, files.account_traits)
    traits = Traits(database, files.owners, PersonsProfiles())
    counters = open_counters(database, settings.counters_url, people)
    zones = files.triggers.zones
    looking = LookingInto(database, people, reader, zones)
    with closing(features), closing(counters):
        yield Rehearsals(
            clock,
            LibraryService(database, clock, check, AudienceReach(database)),
            lambda: snapshot,
            Crowds(database, memberships, people.canonicals, accounts, looking),
            Inquiries(memberships, reader, Surroundings(database, counters, people, accounts, zones)),
            KnownUsers(database, clock, reader, features, traits, accounts, people),
            files.triggers,
        )


def _policy(database: Database, files: LibraryFiles, clock: Clock) -> LearnedPolicy:
    """Return the policy in charge; where none was published for the specification, its prior, unpublished."""
    with database.read() as connection:
        latest = version_repository.latest_version(connection, files.policy.id)
    if latest is None or latest.spec_hash != files.policy.fingerprint:
        latest = cold_start(files.policy, files.vocabularies, clock.now(), after=latest)
    return latest.serve()
