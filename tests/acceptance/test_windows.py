"""Messages go out in their windows: on the user's own clock, not on the holidays of the user's country."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.acceptance.driver import Running


@pytest.fixture
def service(operated: Running) -> Running:
    return operated


def lives_in(service: Running, user: str, zone: str, country: str = "") -> None:
    """Have a user say where they live, and buy something, so that decisions know them."""
    service.identify(user, days_ago=3, zone=zone, **({"country": country} if country else {}))
    service.order(user, "COFFEE", days_ago=3)


def tomorrow_at(service: Running, hour: int) -> None:
    later = (service.now + timedelta(days=1)).replace(hour=hour, minute=0)
    service.move(later - service.now)


def test_a_message_waits_until_it_is_morning_where_the_user_lives(service: Running) -> None:
    # No holiday is near.
    service.move(datetime(2026, 6, 8, 20, 0, tzinfo=UTC) - service.now)
    zones = {"tokyo": "Asia/Tokyo", "new_york": "America/New_York", "nowhere": "Mars/Olympus"}
    users = {name: f"{name}-{uuid4().hex[:8]}" for name in zones}
    for name, zone in zones.items():
        lives_in(service, users[name], zone)
    service.run("push", "features", "audiences")
    # 02:00 UTC: eleven in Tokyo, evening in New York, night in Berlin, which stands for what is no zone.
    tomorrow_at(service, 2)
    for user in users.values():
        service.acting_decision(user)
    done = service.run("deliver")["done"]
    assert done["held"] >= 2
    got = {name: len(service.mails_to(user)) for name, user in users.items()}
    assert got == {"tokyo": 1, "new_york": 0, "nowhere": 0}
    service.move(timedelta(hours=3, minutes=59))
    service.run("deliver")
    assert not service.mails_to(users["nowhere"])
    service.move(timedelta(minutes=1))
    service.run("deliver")
    assert len(service.mails_to(users["nowhere"])) == 1
    assert not service.mails_to(users["new_york"])
    service.move(timedelta(hours=6))
    service.run("deliver")
    assert len(service.mails_to(users["new_york"])) == 1
    # Nothing was stopped, and nothing was sent twice.
    for user in users.values():
        labels = [(one["kind"], one["label"]) for one in service.history(user)]
        assert labels.count(("message", "sent")) == 1
        assert not [label for kind, label in labels if kind == "suppression"]


def test_nothing_goes_out_on_a_holiday_of_the_users_country(service: Running) -> None:
    # The fourteenth of July is a holiday in France, in Germany it is not.
    service.move(datetime(2026, 7, 14, 12, 0, tzinfo=UTC) - service.now)
    german, french = f"german-{uuid4().hex[:8]}", f"french-{uuid4().hex[:8]}"
    lives_in(service, german, "Europe/Berlin", "DE")
    lives_in(service, french, "Europe/Paris", "fr")
    service.run("push", "features", "audiences")
    for user in (german, french):
        service.acting_decision(user)
    service.run("deliver")
    assert (len(service.mails_to(german)), len(service.mails_to(french))) == (1, 0)
    # The next day at ten in Paris, which is 08:00 UTC.
    service.move(timedelta(hours=19, minutes=59))
    service.run("deliver")
    assert not service.mails_to(french)
    service.move(timedelta(minutes=1))
    service.run("deliver")
    assert len(service.mails_to(french)) == 1
