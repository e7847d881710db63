"""What can be imported into a service or a database: the kinds of every room together."""

from __future__ import annotations

from audiences.consent.importers import ConsentImporter, SuppressionImporter
from audiences.consent.service import Consents
from audiences.importing.service import Imports
from audiences.intake.intake import Intake
from audiences.tracking.importer import EventImporter
from delivery.coupon_import import CouponImporter
from playbooks.constraints.documents import Cap, rule_of
from playbooks.counters import Counters
from playbooks.counters.contact_import import ContactImporter
from playbooks.library import Draft
from storage.clock import Clock
from storage.engine import Database


def open_imports(
    database: Database,
    clock: Clock,
    intake: Intake,
    consents: Consents,
    counters: Counters,
    library: Draft,
) -> Imports:
    """Return everything that can be imported; coupons and contacts are those of what is in the library."""
    caps = {
        one.id: rules
        for one in library.playbooks
        if (rules := [rule_of(cap, one.id) for cap in one.constraints if isinstance(cap, Cap)])
    }
    return Imports(
        database,
        clock,
        {
            "events": EventImporter(intake, past=False),
            "past_events": EventImporter(intake, past=True),
            "consents": ConsentImporter(),
            "suppressions": SuppressionImporter(consents),
            "coupons": CouponImporter(library.offers),
            "contacts": ContactImporter(counters, caps),
        },
    )
