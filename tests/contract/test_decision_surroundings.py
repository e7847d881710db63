"""What constraints ask of a user is read from the database as it is now, for all of a person's profiles."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from functools import partial

from sqlalchemy import Connection

from audiences.accounts.primary import NoAccounts
from audiences.consent import repository as consent_repository
from audiences.consent.models import Channel, Consent, ConsentState
from audiences.identity.people import EveryoneAlone
from audiences.service import set_tag
from audiences.triggers.definitions import ZonesSpec
from decision.surroundings import Surroundings
from playbooks.constraints.circumstances import Circumstances, Needs
from playbooks.constraints.counting import UseLimit, of_account
from playbooks.counters import SqlCounters, Wanted
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind, NewFact
from storage.times import to_micros

DAY = timedelta(days=1)


class Acme(NoAccounts):
    """Everybody is of one account."""

    def of(self, users: Collection[str]) -> dict[str, str]:
        return dict.fromkeys(users, "acme")


def test_only_what_is_needed_is_read(database: Database, clock: SimulatedClock) -> None:
    now = clock.now()
    agreed = Consent("ann", "promotional", Channel.EMAIL, ConsentState.GRANTED, now, "page")

    def tell(connection: Connection) -> None:
        set_tag(connection, "ann", "calm", "test", now, None)
        set_tag(connection, "ann", "over", "test", now - DAY, now)
        consent_repository.record(connection, [agreed], now)
        happened = [("ticket_opened", now - DAY), ("ticket_opened", now), ("ticket_resolved", now - DAY)]
        facts = [
            NewFact(Kind.EVENT, f"{user}-{name}-{at}", name, user, at, {})
            for user in ("ann", "bob")
            for name, at in happened
            if not (user == "ann" and at == now)
        ]
        ledger.append_unless_known(connection, facts, now)

    database.write(tell)
    counters = SqlCounters(database)
    for subject in ("", of_account("acme")):
        limit = UseLimit("cap.few", 5, DAY, subject=subject)
        assert database.write(counters.reserve(Wanted(f"d{subject}", "ann", [limit]), now).keep) is None
    zones = ZonesSpec(feature="zone", fallback="UTC")
    surroundings = Surroundings(database, counters, EveryoneAlone(), Acme(), zones)
    read = partial(surroundings.of, "ann", now=now)
    assert read(Needs(), {"zone": "Europe/Berlin"}) == Circumstances(zone="Europe/Berlin")
    assert read(Needs(), {"zone": "Nowhere"}).zone == "UTC"
    everything = read(
        Needs(DAY, tags=True, consents=True, account=True, events=frozenset({"ticket_opened", "other"})), {}
    )
    assert everything.tags == {"calm"}
    assert everything.agreed("promotional", Channel.EMAIL)
    assert everything.events == {"ticket_opened": now - DAY}
    assert everything.account == "acme"
    assert everything.uses == {"cap.few": [to_micros(now)]}
