"""Puts delivery together: what flows see of users, whom they ask, what is checked before each send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from audiences.accounts.primary import PrimaryAccounts
from audiences.consent.service import Consents
from audiences.features import FeastFeatureReader
from audiences.identity.people import People
from audiences.scores.service import Scores
from audiences.selection.memberships import Memberships
from audiences.selection.standing import Standing
from audiences.service import set_tag
from audiences.traits.service import Traits
from decision.again import DeciderAgain
from decision.files import DECIDE, LibraryFiles
from decision.flow_users import FlowUsers
from decision.gate import open_gate
from decision.gate_playbooks import Playbooks
from decision.known_addresses import KnownAddresses
from decision.limits import Limits
from decision.recipients import KnownUsers
from decision.settings import Settings
from decision.still_wanted import StillWanted
from decision.surroundings import Surroundings
from decision.whereabouts import Whereabouts
from delivery.channels.channel import Channel
from delivery.channels.documents import ChannelSpec
from delivery.channels.kinds import Opening
from delivery.channels.links import Links, NoLinks
from delivery.channels.management import Management
from delivery.channels.webhook import WEBHOOK, Webhooks
from delivery.links.links import SignedLinks
from delivery.links.signing import Signer
from delivery.people.history import UserHistories
from delivery.people.opening import TaskGiver
from delivery.people.owners import TraitOwners
from delivery.plans import PublishedPlans
from delivery.service import Delivery
from feature_repo.store import FeatureRepository
from learning.challengers.repository import in_charge
from playbooks.counters import Counters
from playbooks.windows import days_off
from storage.clock import Clock
from storage.engine import Database

# Seconds that flows wait for channels; one that takes longer goes on by itself.
_PATIENCE = 0.1
# Other systems answer when they like, and one that fails says nothing of the others.
_OTHER_SYSTEMS = Management(concurrency=8, breaker=None)


def links_of(settings: Settings, consents: Consents) -> SignedLinks:
    """Return what makes the links by which users come back; there are none without a public address."""
    return SignedLinks(settings.public_url, signer_of(consents))


def signer_of(consents: Consents) -> Signer:
    """Return what signs links, under a key of its own made of that of addresses."""
    return Signer(consents.addresses.derive("links"))


def channels_of(
    settings: Settings,
    specs: Mapping[str, ChannelSpec],
    database: Database,
    clock: Clock,
    consents: Consents | None = None,
) -> dict[str, Channel]:
    """Open every channel that variants may name, and the way by which flows tell other systems.

    Args:
        consents: whose links users end messages by; None: nothing is to be sent.

    Raises:
        ConfigurationError: a channel needs a secret that nobody set.
    """
    secrets = {name: one.get_secret_value() for name, one in settings.channel_secrets.items()}
    links: Links = NoLinks() if consents is None else links_of(settings, consents)
    opening = Opening(settings.data, database, clock, secrets, links)
    opened = {name: spec.open(opening) for name, spec in specs.items()}
    signing = settings.signing_secret
    return {
        **opened,
        WEBHOOK: Webhooks(signing.get_secret_value() if signing else None, settings.webhook_networks),
    }


def management_of(specs: Mapping[str, ChannelSpec]) -> dict[str, Management]:
    """Return how channels are used, by name, the way by which flows tell other systems too."""
    return {WEBHOOK: _OTHER_SYSTEMS, **{name: spec.entry.management for name, spec in specs.items()}}


def kinds_of(specs: Mapping[str, ChannelSpec]) -> dict[str, str]:
    """Return the kinds of channels by name, the way by which flows tell other systems too."""
    return {**{name: spec.entry.kind for name, spec in specs.items()}, WEBHOOK: WEBHOOK}


def open_delivery(
    settings: Settings,
    database: Database,
    clock: Clock,
    files: LibraryFiles,
    features: FeatureRepository,
    memberships: Memberships,
    standing: Standing,
    people: People,
    accounts: PrimaryAccounts,
    counters: Counters,
    channels: Mapping[str, Channel],
    traits: Traits,
    consents: Consents,
    *,
    scores: Scores,
    holder: str,
) -> tuple[Delivery, KnownUsers, DeciderAgain]:
    """Return delivery over one service's parts, whom it knows, and what decides in its transactions.

    Args:
        holder: this process's name in leases.
    """
    days_off.prepare(files.draft.windows.codes if files.draft.windows else ())
    reader = FeastFeatureReader(features, DECIDE, clock)
    whereabouts = Whereabouts(features, clock, files.triggers.zones)
    links = links_of(settings, consents)
    recipients = KnownUsers(database, clock, reader, features, traits, accounts, people, links)
    playbooks = Playbooks()
    limits = Limits(playbooks, counters, files.asked.schema)
    again = DeciderAgain(
        reader,
        memberships,
        Surroundings(database, counters, people, accounts, files.triggers.zones),
        people,
        policy=partial(in_charge, slot=files.policy.id, known=files.policies),
        inputs=files.policy_inputs,
        schema=files.asked.schema,
        seed=settings.seed,
        holdout=settings.holdout,
        insiders=files.insiders.everybody,
    )
    delivery = Delivery(
        database,
        clock,
        PublishedPlans(replace(files.schema, audiences=True), files.staff.hours),
        channels,
        set_tag,
        people,
        gate=open_gate(playbooks, limits, whereabouts, people, consents, channels),
        limits=limits,
        views=FlowUsers(database, features, memberships, standing, people, accounts, whereabouts),
        decide_again=again,
        points=scores.give,
        holder=holder,
        recipients=recipients,
        addresses=KnownAddresses(database, people, consents),
        management=management_of(files.channels),
        # A clock that stands still waits: whoever moves it wants to see what came of a moment.
        patience=None if settings.clock else _PATIENCE,
        links=links,
        wanted=StillWanted(database, people, {name: one.consent for name, one in channels.items()}),
        giver=TaskGiver(files.staff, TraitOwners(files.staff.owners, traits, people)),
        histories=UserHistories(people, scores),
    )
    return delivery, recipients, again
