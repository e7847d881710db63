"""Foresight of what a service serves, or would serve if it ran on a database and folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from audiences.accounts.primary import Accounts, PrimaryAccounts
from audiences.features import FeastFeatureReader
from audiences.identity.people import JoinedPeople, PersonsProfiles
from audiences.rules import Schema
from audiences.scores.service import Scores
from audiences.selection.catalog import Catalogs
from audiences.selection.memberships import Memberships
from audiences.selection.standing import Standing
from audiences.service import read_values
from audiences.stages.service import Stages
from audiences.traits.service import Traits
from audiences.triggers.definitions import Triggers
from decision.files import DECIDE, LibraryFiles, read_files
from decision.fitting import Fitting
from decision.flow_users import FlowUsers
from decision.foresight.calendars import Calendars
from decision.foresight.crowds import Crowds
from decision.foresight.inquiries import Inquiries
from decision.foresight.looking_into import LookingInto
from decision.foresight.rehearsing import Rehearsals
from decision.foresight.sendings import Sendings
from decision.opening import snapshot_of
from decision.reach import AudienceReach
from decision.recipients import KnownUsers
from decision.settings import Settings
from decision.surroundings import Surroundings
from decision.whereabouts import Whereabouts
from delivery.channels.documents import ChannelSpec
from delivery.recipients import Recipients
from delivery.view import Views
from feature_repo.errors import SnapshotMissing
from feature_repo.store import FeatureRepository
from learning import version_repository
from learning.challengers.repository import in_charge
from learning.policy import LearnedPolicy
from learning.versions import cold_start
from playbooks.controls.repository import in_force
from playbooks.counters import Counters, open_counters
from playbooks.library import Library
from playbooks.library.loading import Loader
from playbooks.library.service import LibraryService
from playbooks.matching import Snapshot
from playbooks.shaping import holds_with
from storage.clock import Clock
from storage.engine import Database
from storage.errors import ConfigurationError

if TYPE_CHECKING:
    from decision.wiring import Service


class Foresight(NamedTuple):
    """What is seen beforehand of one service."""

    rehearsals: Rehearsals
    calendars: Calendars


class _Standing(NamedTuple):
    """What foresight stands on, whether a service runs or not."""

    database: Database
    clock: Clock
    library: LibraryService
    served: Callable[[], Snapshot]
    people: JoinedPeople
    memberships: Memberships
    features: FeatureRepository
    accounts: Accounts
    counters: Counters
    recipients: Recipients
    triggers: Triggers
    views: Views
    schema: Schema
    channels: Mapping[str, ChannelSpec]


def foresight_of(service: Service) -> Foresight:
    """Return what is seen of a service that runs."""
    return _foresight(
        _Standing(
            service.database,
            service.clock,
            service.library,
            lambda: service.decider.snapshot,
            service.identity.people,
            service.audiences.memberships,
            service.features,
            service.accounts,
            service.counters,
            service.recipients,
            service.files.triggers,
            service.delivery.views,
            service.files.schema,
            service.files.channels,
        )
    )


@contextmanager
def foresight_at_hand(settings: Settings, database: Database, clock: Clock) -> Iterator[Foresight]:
    """Give what is seen of a service that does not run: of what its database says is served.

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
        shaping = holds_with(connection, files.policy.shaping)
    policy = _policy(database, files, clock)
    snapshot = snapshot_of(settings, files, library, policy, controls, shaping)
    features = FeatureRepository(
        settings.data / "features", files.specs, online=(DECIDE,), online_url=settings.online_url
    )
    counters = open_counters(database, settings.counters_url, people)
    accounts = PrimaryAccounts(database, people, files.account_traits)
    reader = FeastFeatureReader(features, DECIDE, clock)
    traits = Traits(database, files.owners, PersonsProfiles())
    standing = Standing(
        Scores(database, clock, files.scores, people), Stages(database, files.lifecycles, people), accounts
    )
    whereabouts = Whereabouts(features, clock, files.triggers.zones)
    with closing(features), closing(counters):
        yield _foresight(
            _Standing(
                database,
                clock,
                LibraryService(database, clock, _check(database, files), AudienceReach(database)),
                lambda: snapshot,
                people,
                memberships,
                features,
                accounts,
                counters,
                KnownUsers(database, clock, reader, features, traits, accounts, people),
                files.triggers,
                FlowUsers(database, features, memberships, standing, people, accounts, whereabouts),
                files.schema,
                files.channels,
            )
        )


def _foresight(on: _Standing) -> Foresight:
    reader, zones = FeastFeatureReader(on.features, DECIDE, on.clock), on.triggers.zones
    looking = LookingInto(on.database, on.people, reader, zones)
    crowds = Crowds(on.database, on.memberships, on.people.canonicals, on.accounts, looking)
    surroundings = Surroundings(on.database, on.counters, on.people, on.accounts, zones)
    inquiries = Inquiries(on.memberships, reader, surroundings)

    def known(users: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        if on.triggers.triggers:
            with suppress(SnapshotMissing):
                table = read_values(on.features, users, on.clock.now(), on.accounts)
                rows: list[dict[str, Any]] = table.to_pylist()
                return rows
        return [{}] * len(users)

    return Foresight(
        Rehearsals(on.clock, on.library, on.served, crowds, inquiries, on.recipients, on.triggers),
        Calendars(
            on.database,
            on.clock,
            on.library,
            on.served,
            crowds,
            inquiries,
            known,
            on.triggers,
            Sendings(
                on.database,
                on.library,
                replace(on.schema, audiences=True),
                on.views,
                Whereabouts(on.features, on.clock, zones).places,
            ),
            on.channels,
        ),
    )


def _check(database: Database, files: LibraryFiles) -> Fitting:
    catalogs = Catalogs(database, files.definitions, files.schema)
    return Fitting(
        lambda: catalogs.read().specs,
        files.policy,
        files.vocabulary,
        files.asked,
        files.in_flows,
        files.channels,
    )


def _policy(database: Database, files: LibraryFiles, clock: Clock) -> LearnedPolicy:
    """Return the policy in charge; where none was published for the specification, its prior, unpublished."""
    with database.read() as connection:
        spec = files.policies[in_charge(connection, files.policy.id, files.policies)]
        latest = version_repository.latest_version(connection, spec.id)
    if latest is None or latest.spec_hash != spec.fingerprint:
        latest = cold_start(spec, files.vocabularies, clock.now(), after=latest)
    return latest.serve(files.policy_inputs)
