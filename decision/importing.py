"""What can be imported into a service or a database: the kinds of every room together."""

from __future__ import annotations

from audiences.consent.importers import ConsentImporter, SuppressionImporter
from audiences.consent.service import Consents
from audiences.importing.service import Imports
from audiences.intake.intake import Intake
from audiences.tracking.importer import EventImporter
from delivery.coupons.importing import CouponImporter
from playbooks.constraints.binding import Terms
from playbooks.constraints.rulebook import NO_NAMES
from playbooks.constraints.scoping import ALL
from playbooks.counters import Counters
from playbooks.counters.contact_import import ContactImporter
from playbooks.library import Draft, expand
from playbooks.models import Playbook
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
    caps = {one.id: rules for one in library.playbooks if (rules := _counted(one, library))}
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


def _counted(playbook: Playbook, library: Draft) -> list[str]:
    """Return under what a contact by a playbook counts, whichever of its arms made it.

    What counts arms apart, or all users of an account together, can't be told from a count of contacts.
    """
    arms = expand(playbook, library.offers)
    terms = Terms(playbook, arms, library.constraints or (), NO_NAMES)
    found: list[str] = []
    for one in terms.counted:
        keys = {one.key(arm) for arm in arms}
        if one.counts is ALL and not one.of_account and len(keys) == 1:
            found.extend(keys)
    return found
