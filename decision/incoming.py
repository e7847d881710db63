"""What comes in and whom it is about: events, consent, forms, CRMs; put together for one service."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import FastAPI

from audiences.consent import api as consent_api
from audiences.consent.service import Consents
from audiences.crm import api as crm_api
from audiences.crm.reconcile import Report, reconcile
from audiences.crm.service import Crm
from audiences.crm.signatures import Signatures
from audiences.forms import api as forms_api
from audiences.forms.service import Forms
from audiences.identity.people import PersonsProfiles
from audiences.identity.service import IdentityService
from audiences.importing.reader import Row
from audiences.traits import api as traits_api
from audiences.traits.service import Traits
from decision import problems
from decision.address_key import open_address_hash
from decision.events_in import EventsIn
from decision.files import LibraryFiles
from decision.settings import Settings
from decision.used_properties import used_properties
from decision.webhook_secrets import webhook_secrets
from storage.clock import Clock
from storage.engine import Database


class Incoming:
    """The ways in of one service."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: Settings,
        files: LibraryFiles,
        identity: IdentityService,
    ) -> None:
        """Open them.

        Raises:
            ConfigurationError: the key that addresses are hashed under is not the database's, or the secrets
                of webhooks can't be read.
            PlanError: a file of the tracking plan is wrong.
        """
        self._database = database
        self._clock = clock
        self._identity = identity
        addresses, profiles = open_address_hash(settings), PersonsProfiles()
        region = settings.phone_region or None
        self.traits = Traits(database, files.owners, profiles)
        self.events = EventsIn(database, clock, settings, identity, self.traits, used_properties(files))
        self.intake = self.events.intake
        self.consents = Consents(database, clock, addresses, profiles)
        self.crm = Crm(database, clock, self.intake, files.crm)
        self._signatures = Signatures(webhook_secrets(settings))
        self.forms = Forms(database, clock, self.intake, files.forms, addresses.derive("forms"), region)

    def reconcile(self, source: str, rows: Iterable[Row]) -> Report:
        """Compare a CRM's export with what is held of it (see `audiences.crm.reconcile`)."""
        with self._database.read() as connection:
            return reconcile(connection, self.crm.source(source), rows, self.traits, self._clock.now())

    def add_routes(self, app: FastAPI) -> None:
        """Add the routes of what stands before the ledger, of consent, traits, forms and CRMs."""
        self.events.add_routes(app)
        app.include_router(
            consent_api.router(self._database, self._clock, self.consents, self._identity.people.canonical)
        )
        app.include_router(traits_api.router(self.traits, self._identity.lookup))
        crm_api.add_crm_routes(app, self.crm, self._signatures, self.reconcile)
        forms_api.add_form_routes(app, self.forms, problems.of_error)
