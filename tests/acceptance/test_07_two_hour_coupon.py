"""Story 7: looked at, not ordered for two hours: a coupon for the day, told twice; an order ends it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest

from decision.demo.run import LIBRARY
from playbooks.library.templates import files_with
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running
from tests.launching import running_service

# What a cent takes from a variant's value.
A_CENT = 0.00001


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A shop that took the template as it is shipped; its customers live in New York."""
    data = tmp_path_factory.mktemp("shop")
    library = data / "library"
    shutil.copytree(LIBRARY, library)
    texts, _ = files_with(library, "cart_reminder", "cart_reminder")
    for path, text in texts.items():
        path.write_text(text)
    triggers = library / "triggers.yaml"
    triggers.write_text("zones: {fallback: America/New_York}\n" + triggers.read_text())
    policy = library / "policy.yaml"
    policy.write_text(policy.read_text() + f"costs: {{EUR: {A_CENT}}}\n")
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        running = Running(client.http, data, START)
        for user in ("viewer", "reader", "buyer", "quick"):
            running.order(user, "COFFEE", days_ago=30)
        running.run("push", "features", "audiences", "triggers")
        yield running


def did(shop: Running, user: str, event: str) -> None:
    message = {
        "messageId": str(uuid4()),
        "userId": user,
        "event": event,
        "timestamp": shop.now.isoformat(),
        "properties": {"product": "A"},
    }
    assert shop.http.post("/v1/track", json=message).json()["accepted"] == 1


def subjects(shop: Running, user: str) -> list[str]:
    return sorted(str(mail["Subject"]) for mail in shop.mails_to(user))


def labels(shop: Running, user: str, kind: str) -> list[str]:
    return [fact["label"] for fact in shop.history(user) if fact["kind"] == kind]


def test_the_coupon_of_the_day(shop: Running) -> None:
    for user in ("viewer", "reader", "buyer", "quick"):
        did(shop, user, "product_viewed")
    shop.run("triggers")
    shop.move(timedelta(hours=1))
    shop.order("quick", "COFFEE")
    shop.run("triggers", "deliver")
    shop.move(timedelta(hours=1, minutes=1))
    report = shop.run("triggers")
    assert (report["fired"], report["decided"]) == (3, 3)
    # What begins by a trigger is weighed like what is asked for; of five coupons one is expected to be used.
    (decided,) = [fact["body"] for fact in shop.history("viewer") if fact["kind"] == "decision"]
    assert decided["costs"] == [pytest.approx(100 * A_CENT)]
    shop.run("deliver")

    first = "Coupon for today: a coupon waits in your wallet"
    begun = [user for user in ("viewer", "reader", "buyer") if subjects(shop, user)]
    # Exploration does nothing once in a long while; the seed is fixed, so here it does not.
    assert begun == ["viewer", "reader", "buyer"]
    assert {tuple(subjects(shop, user)) for user in begun} == {(first,)}
    assert subjects(shop, "quick") == []
    wallet = {user: labels(shop, user, "coupon") for user in begun}
    assert wallet == {user: ["issued"] for user in begun}

    # Within the hour one looks at the coupon, one orders.
    shop.move(timedelta(minutes=30))
    did(shop, "reader", "coupon_viewed")
    shop.order("buyer", "COFFEE")
    shop.run("deliver")
    assert labels(shop, "buyer", "coupon") == ["used", "issued"]
    shop.move(timedelta(minutes=31))
    shop.run("deliver")
    again = "Your coupon ends tonight"
    assert subjects(shop, "viewer") == sorted([first, again])
    assert subjects(shop, "reader") == subjects(shop, "buyer") == [first]

    # It is 12:02 UTC, seven in the morning in New York: the day ends at 05:00 UTC.
    shop.move(timedelta(hours=16))
    shop.run("deliver")
    assert "expired" not in labels(shop, "viewer", "coupon")
    shop.move(timedelta(hours=1))
    shop.run("deliver")
    assert labels(shop, "viewer", "coupon")[0] == "expired"
    assert len(subjects(shop, "viewer")) == 2
    assert len(subjects(shop, "buyer")) == 1

    # Nobody is told twice in a week.
    did(shop, "viewer", "product_viewed")
    shop.run("triggers")
    shop.move(timedelta(hours=2, minutes=1))
    shop.run("triggers", "deliver")
    assert len(subjects(shop, "viewer")) == 2
