"""What comes back from users and providers after a message went out, put together for one service."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from fastapi import FastAPI
from sqlalchemy import Connection

from audiences.consent.models import Channel
from audiences.crm.signatures import Signatures
from decision.delivering import kinds_of, links_of, management_of, signer_of
from decision.gate_playbooks import Playbooks
from decision.webhook_secrets import webhook_secrets
from delivery.channels.management import api as channels_api
from delivery.channels.webhook import WEBHOOK
from delivery.links.api import add_link_route
from delivery.links.following import Visits
from delivery.models import Enrolment
from delivery.preferences.api import add_preference_routes
from delivery.preferences.service import UserPreferences
from delivery.receipts.api import add_receipt_routes
from delivery.receipts.following import Following
from delivery.receipts.permissions import Permissions
from delivery.receipts.service import Receipts
from delivery.receipts.twilio import TwilioSignatures
from delivery.receipts.way import Way
from storage.engine import Database

if TYPE_CHECKING:
    from decision.wiring import Service


def receipts_of(service: Service, database: Database | None = None) -> Receipts:
    """Return the receipts of a service; `database` is that of a job, behind its fence."""
    database = database or service.database
    incoming, people, playbooks = service.incoming, service.identity.people, Playbooks()

    def purpose(connection: Connection, run: Enrolment) -> str:
        playbook = playbooks.of(connection, run)
        return "promotional" if playbook is None else playbook.document.purpose

    permissions = Permissions(incoming.consents, people, service.settings.phone_region or None)
    intake = incoming.events.intake_of(database)
    return Receipts(
        database,
        service.clock,
        intake,
        people,
        service.delivery.gate,
        permissions,
        purpose,
        partial(_way, service),
    )


def add_routes(app: FastAPI, service: Service) -> None:
    """Add the routes that tell how channels are doing, and those by which providers and users come back."""
    settings, database, clock = service.settings, service.database, service.clock
    specs = service.files.channels
    app.include_router(channels_api.router(database, clock, kinds_of(specs), management_of(specs)))
    people, consents, ways = service.identity.people, service.incoming.consents, partial(_way, service)
    receipts, signer = receipts_of(service), signer_of(consents)
    tokens = {
        channel: [one.get_secret_value() for one in all_] for channel, all_ in settings.twilio_tokens.items()
    }
    signatures = Signatures(webhook_secrets(settings))
    add_receipt_routes(app, receipts, clock, signatures, TwilioSignatures(tokens), settings.public_url)
    add_link_route(app, signer, Visits(database, clock, service.intake, people, ways))
    used = {one.consent for name, one in service.channels.items() if name != WEBHOOK}
    shown = [one for one in Channel if one is not Channel.ANY and one in used]
    wishes = UserPreferences(database, clock, consents, people, receipts, Playbooks().of, ways, shown)
    add_preference_routes(app, clock, wishes, links_of(settings, consents), signer)


def _way(service: Service, channel: str) -> Way | None:
    """Return by which way a channel reaches users, None if there is no such channel."""
    known = None if channel == WEBHOOK else service.channels.get(channel)
    return None if known is None else Way.of(known.consent)


class ReceiptsJob:
    """Follows what users do with messages, and tries receipts again that came too early."""

    def __init__(self, service: Service, database: Database) -> None:
        self._receipts = receipts_of(service, database)
        self._following = Following(database, service.identity.people, service.delivery.gate)

    def run(self, now: datetime) -> Mapping[str, int]:
        """Return how many messages reached a further state, and what became of early receipts."""
        again = self._receipts.again()
        self._receipts.forget(now)
        return {"reached": self._following.run(now), **{name.value: many for name, many in again.items()}}
