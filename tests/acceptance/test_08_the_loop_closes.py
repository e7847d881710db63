"""Story 8, the part that exists: an offer goes out, is used, and its decision gets the reward."""

from __future__ import annotations

from datetime import timedelta

from tests.acceptance.driver import Running


def test_an_offer_is_sent_used_and_rewarded(service: Running, user: str) -> None:
    for days_ago in (5, 12, 19):
        service.order(user, "COFFEE", "BACON", days_ago=days_ago)
    service.run("features", "audiences")
    decided = service.acting_decision(user)
    service.run("deliver")
    assert [str(mail["Subject"]) for mail in service.mails_to(user)] == [
        f"This fortnight for you: {decided['offer']['name']}"
    ]
    states = [(fact["kind"], fact["label"]) for fact in service.history(user)]
    assert states.count(("coupon", "issued")) == 1
    assert states.count(("message", "delivered")) == 1

    service.move(timedelta(days=1))
    service.order(user, decided["offer"]["attributes"]["category"])
    service.run("deliver")
    assert ("coupon", "used") in [(fact["kind"], fact["label"]) for fact in service.history(user)]

    service.move(timedelta(days=14))
    service.run("deliver", "reward")
    rewards = {
        fact["id"]: fact["body"]["value"] for fact in service.history(user) if fact["kind"] == "reward"
    }
    assert rewards[decided["decision_id"]] == 1.0


def test_an_offer_that_is_not_used_expires(service: Running, user: str) -> None:
    service.order(user, "COFFEE", days_ago=3)
    service.run("features", "audiences")
    decided = service.acting_decision(user)
    service.run("deliver")
    service.move(timedelta(days=15))
    service.run("deliver", "reward")
    history = service.history(user)
    assert ("coupon", "expired") in [(fact["kind"], fact["label"]) for fact in history]
    rewards = {fact["id"]: fact["body"]["value"] for fact in history if fact["kind"] == "reward"}
    assert rewards[decided["decision_id"]] == 0.0


def test_rewards_become_a_new_version_of_the_policy(service: Running, user: str) -> None:
    service.order(user, "COFFEE", days_ago=3)
    service.run("features", "audiences")
    before = service.http.get("/ready").json()["policy"]
    service.acting_decision(user)
    service.move(timedelta(days=15))
    service.run("deliver", "reward", "learn")
    after = service.http.get("/ready").json()["policy"]
    assert after != before
    assert service.decide(user).json()["policy"] == after
