"""Story 11, in part: a coupon of the wrong value shows in the dry run, before anything goes out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from tests.acceptance.driver import Running

SHOPPERS = 12


def plan(value: str, **given: Any) -> dict[str, Any]:
    variant = {"id": "off", "offer": "dry_coupon", "channel": "mailbox", "content": "offer_notice"}
    return {
        "name": "A coupon",
        "placement": "outbound",
        "audience": "new_shopper",
        "priority": 900,
        "goal": {"event": "order_completed", "window": "P7D"},
        "variants": [{**variant, "value": value}],
        "flow": {
            "start": "tell",
            "states": {
                "tell": {"kind": "send", "next": "over"},
                "over": {"kind": "end", "result": "given"},
            },
        },
        **given,
    }


@pytest.fixture(scope="module")
def shoppers(service: Running) -> Iterator[list[str]]:
    """New shoppers, and the coupon in a version that waits as approved."""
    names = [f"dry-{number}" for number in range(SHOPPERS)]
    for name in names:
        service.order(name, "dairy", days_ago=2)
    service.run("push", "features", "audiences")
    document = service.http.get("/v1/library/export").json()
    offer = {"id": "dry_coupon", "name": "Money off", "kind": "fixed_amount", "value": "5.00 EUR"}
    body = {
        "offers": [*document["offers"], {**offer, "cost_model": {"redemption": 0.2}}],
        "contents": document["contents"],
        "playbooks": [*document["playbooks"], {"id": "dry_coupon", **plan("5.00 EUR")}],
    }
    answer = service.http.post("/v1/library/import", json=body)
    assert answer.status_code == 200, answer.text
    yield names
    assert service.http.post("/v1/playbooks/dry_coupon/retire").status_code == 200


def rehearse(service: Running, playbook: str = "dry_coupon", **asked: Any) -> httpx2.Response:
    return service.http.post(f"/v1/playbooks/{playbook}/rehearse", json=asked)


def test_a_coupon_of_500_shows_before_anything_goes_out(service: Running, shoppers: list[str]) -> None:
    before = service.http.get("/v1/summary").json()
    approved = rehearse(service, version=1).json()
    (cost,) = approved["costs"]
    users = approved["audience"]["users"]
    assert users >= SHOPPERS
    assert approved["state"] == "approved"
    assert (cost["currency"], cost["liability"], cost["most"]) == ("EUR", 500 * users, 100 * users)

    saved = service.http.put("/v1/playbooks/dry_coupon/draft", json=plan("500.00 EUR"))
    assert saved.status_code == 200, saved.text
    wrong = rehearse(service, draft=True, shown=3).json()
    assert (wrong["version"], wrong["state"], wrong["left"]) == (None, "draft", users)
    (cost,) = wrong["costs"]
    assert cost["liability"] == 50_000 * users
    assert 0 < cost["expected"]["low"] <= cost["expected"]["expected"] <= cost["most"] == 10_000 * users
    assert [(arm["arm"], arm["value"], arm["users"]) for arm in wrong["arms"]] == [
        ("dry_coupon/off", 50_000, users)
    ]
    assert wrong["channels"][0]["name"] == "mailbox"
    told = [one for one in wrong["examples"] if one["arm"] == "dry_coupon/off"]
    assert told
    assert "Money off" in told[0]["subject"] + told[0]["body"]

    assert service.http.get("/v1/summary").json() == before
    assert not any(service.mails_to(name) for name in shoppers)
    assert service.http.delete("/v1/playbooks/dry_coupon/draft", headers={"If-Match": saved.headers["etag"]})


def test_what_stops_whom_is_exact(service: Running, shoppers: list[str]) -> None:
    """Who used the cap of four four times is stopped, by the rule's id, and nobody else."""
    rule = "cap.welcome.two_months"
    before = {one["rule"]: one["users"] for one in rehearse(service, "welcome").json()["stopped"]}
    greedy = shoppers[0]
    for _ in range(4):
        for _ in range(20):
            answer = service.decide(greedy).json()
            if answer["playbook"] == "welcome":
                break
            assert answer["playbook"] is None
    found = rehearse(service, "welcome").json()
    stopped = {one["rule"]: one["users"] for one in found["stopped"]}
    assert stopped == before | {rule: before.get(rule, 0) + 1}
    assert found["left"] + found["elsewhere"] + sum(stopped.values()) == found["audience"]["users"]
    assert found["state"] == "live"
    assert found["contacted"]["low"] <= found["contacted"]["expected"] <= found["contacted"]["high"]
    again = rehearse(service, "welcome").json()
    assert {**again, "at": ""} == {**found, "at": ""}


def test_wrong_wishes_are_answered(service: Running, shoppers: list[str]) -> None:
    for playbook, asked, status, said in (
        ("nobody", {}, 404, "nobody"),
        ("welcome", {"version": 99}, 404, "99"),
        ("welcome", {"draft": True}, 404, "has no draft"),
        ("welcome", {"draft": True, "version": 1}, 422, "give one of them"),
        ("welcome", {"sample": 0}, 422, "sample"),
        ("welcome", {"smaple": 5}, 422, "smaple"),
    ):
        answer = rehearse(service, playbook, **asked)
        assert (answer.status_code, said in answer.text) == (status, True), answer.text
    misfit = plan("5.00 EUR", audience="nobody_there")
    etag = service.http.put("/v1/playbooks/dry_misfit/draft", json=misfit).headers["etag"]
    answer = rehearse(service, "dry_misfit", draft=True)
    assert (answer.status_code, "there is no audience" in answer.text) == (422, True)
    assert service.http.delete("/v1/playbooks/dry_misfit/draft", headers={"If-Match": etag})


def test_who_joins_during_a_minute_is_seen_by_the_next(service: Running, shoppers: list[str]) -> None:
    # Whoever else's users are new by now are known before, also those of this minute.
    service.move(timedelta(minutes=1))
    service.run("push", "features", "audiences")
    before = rehearse(service, "welcome").json()["audience"]
    service.move(timedelta(minutes=1))
    service.order("dry-late", "dairy", days_ago=1)
    service.run("push", "features", "audiences")
    after = rehearse(service, "welcome").json()["audience"]
    assert after["users"] == before["users"] + 1
    assert after["as_of"] > before["as_of"]


def test_the_calendar_tells_the_coming_days(service: Running, shoppers: list[str]) -> None:
    """It goes on as it went in the last days, by chance as the policy decides, and writes nothing."""
    for name in shoppers:
        assert service.decide(name).status_code == 200
    service.move(timedelta(hours=1))
    before = service.http.get("/v1/summary").json()
    found = service.http.get("/v1/library/calendar", params={"days": 3, "sample": 200}).json()
    rests = {one["playbook"]: one for one in found["rests_on"]}
    assert "decisions at outbound in the last" in rests["welcome"]["said"]
    assert rests["welcome"]["occasions"] > 0
    (channel,) = found["channels"]
    assert channel["channel"] == "mailbox"
    assert sum(cell["expected"] for cell in found["volume"]) == pytest.approx(channel["contacts"]["expected"])
    assert sum(one["users"] for one in found["contacts"]) == pytest.approx(found["users"], rel=0.01)
    assert service.http.get("/v1/summary").json() == before
    assert service.http.get("/v1/library/calendar?days=0").status_code == 422
