"""Story 31, its first part: a feed that falls silent is noticed, rewards wait, and all is made up for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from decision.demo.run import LIBRARY
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running
from tests.launching import running_service

HOUR = timedelta(hours=1)
QUARTER = timedelta(minutes=15)
BEFORE = timedelta(days=4)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data: Path = tmp_path_factory.mktemp("shop")
    shutil.copytree(LIBRARY, data / "library")
    # A day to be judged in, so that no fortnight has to be lived through.
    for path in (data / "library" / "playbooks").iterdir():
        path.write_text(path.read_text().replace("window: P14D", "window: P1D"))
    with running_service(data, clock=START - BEFORE, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START - BEFORE)


def send(shop: Running, event: str, **more: Any) -> None:
    message = {"type": "track", "userId": "feed", "event": event, "messageId": str(uuid4()), **more}
    answer = shop.http.post("/v1/batch", json={"batch": [message]})
    assert answer.json()["accepted"] == 1, answer.text


def live(shop: Running, until: datetime, every: timedelta, *events: str) -> None:
    """Let the shop send these events at intervals."""
    while shop.now < until:
        batch = [{"type": "track", "userId": "feed", "event": event} for event in events]
        assert shop.http.post("/v1/batch", json={"batch": batch}).json()["accepted"] == len(batch)
        shop.move(every)


def state(shop: Running, name: str) -> dict[str, Any]:
    (found,) = [one for one in shop.http.get("/v1/sources").json() if one["name"] == name]
    return dict(found)


def rewards(shop: Running, user: str) -> list[dict[str, Any]]:
    return [fact for fact in shop.history(user) if fact["kind"] == "reward"]


def test_the_order_feed_is_silent_for_six_hours(shop: Running, user: str) -> None:
    live(shop, START, QUARTER, "order_completed", "page_viewed")
    assert shop.run("liveness")["opened"] == 0
    assert state(shop, "order_completed")["state"] == "live"
    assert state(shop, "order_completed")["usual_this_hour"] == 4
    # A decision whose window of a day closes while the feed is silent.
    shop.order(user, "COFFEE", days_ago=1)
    shop.run("push", "features", "audiences")
    decided = shop.acting_decision(user)
    live(shop, START + 22 * HOUR, QUARTER, "order_completed", "page_viewed")
    silent_since = shop.now
    live(shop, silent_since + 6 * HOUR, QUARTER, "page_viewed")
    assert shop.run("liveness")["opened"] == 1
    assert shop.run("liveness")["opened"] == 0
    told = state(shop, "order_completed")
    assert told["state"] == "silence"
    assert datetime.fromisoformat(told["since"]) == silent_since - QUARTER
    assert state(shop, "page_viewed")["state"] == "live"
    assert 'nextplay_feed_alerts{what="silence"} 1.0' in shop.http.get("/metrics").text
    log = (shop.data / "service.log").read_text()
    assert "events stopped" in log
    # Nothing is learned from the silence: the window has closed and is not judged.
    shop.run("reward")
    assert not rewards(shop, user)
    # The feed catches up, with what happened meanwhile; the order that the decision led to is among it.
    category = decided["offer"]["attributes"]["category"]
    bought = (START + 23 * HOUR).isoformat()
    line = {"category": category, "quantity": 1, "value": 2.5, "discount": 0.0}
    properties = {"value": 2.5, "categories": [category], "lines": [line]}
    send(shop, "order_completed", userId=user, timestamp=bought, properties=properties)
    shop.run("liveness", "reward")
    assert not rewards(shop, user), "one order is not the backlog"
    for index in range(24):
        moment = (silent_since + index * QUARTER).isoformat()
        send(shop, "order_completed", timestamp=moment)
    assert shop.run("liveness")["closed"] == 1
    assert state(shop, "order_completed")["state"] == "live"
    shop.run("reward")
    earned = [fact["body"]["value"] for fact in rewards(shop, user) if fact["id"] == decided["decision_id"]]
    assert earned == [1.0]


def test_a_plan_is_fixed_in_flight_and_what_was_set_aside_comes_in(shop: Running, user: str) -> None:
    wrong = {"userId": user, "event": "gift_given", "messageId": str(uuid4()), "properties": {"value": "abc"}}
    folder = shop.data / "library" / "tracking"
    folder.mkdir()
    (folder / "gift_given.yaml").write_text("type: object\nproperties: {value: {type: number}}\n")
    assert shop.http.post("/v1/plan/reload").json()["events"]["gift_given"]["mode"] == "lenient"
    answer = shop.http.post("/v1/track", json=wrong).json()
    assert answer["accepted"] == 0
    assert answer["quarantined"][0]["reason"] == "properties.value: 'abc' is not a number"
    (folder / "gift_given.yaml").write_text("type: object\nproperties: {value: {type: txt}}\n")
    refused = shop.http.post("/v1/plan/reload")
    assert refused.status_code == 422
    assert "gift_given.yaml, line 2: properties.value.type" in refused.json()["detail"]
    assert shop.http.get("/v1/plan").json()["refused"] == refused.json()["detail"]
    listed = shop.http.get("/v1/quarantine?event=gift_given").json()
    assert (listed["counts"], listed["next"]) == ({"gift_given": 1}, None)
    assert listed["events"][0]["now"] == "properties.value: 'abc' is not a number"
    assert shop.http.get(f"/v1/quarantine/{wrong['messageId']}").json()["event"]["properties"] == {
        "value": "abc"
    }
    (folder / "gift_given.yaml").write_text("type: object\nproperties: {value: {type: string}}\n")
    assert shop.http.post("/v1/plan/reload").status_code == 200
    assert shop.http.post("/v1/quarantine/replay", json={"event": "gift_given"}).json()["taken"] == 1
    assert shop.http.post("/v1/quarantine/replay").json()["taken"] == 0
    assert [fact["id"] for fact in shop.history(user) if fact["kind"] == "event"] == [wrong["messageId"]]
    assert shop.http.post("/v1/track", json=wrong).json()["duplicates"] == 1
    for path in ("/v1/quarantine?limit=0", "/v1/quarantine?cursor=x", "/v1/quality?hours=0"):
        assert shop.http.get(path).status_code == 422
    assert shop.http.get("/v1/quarantine/none").status_code == 404
    assert shop.http.post("/v1/quarantine/replay", json={"name": "x"}).status_code == 422


def test_machines_start_nothing_and_are_seen(shop: Running, user: str) -> None:
    delivered = shop.now.isoformat()
    clicks = [
        {
            "type": "track",
            "userId": user,
            "event": "email_link_clicked",
            "messageId": f"{user}-{message}-{link}",
            "properties": {"message_id": f"{user}-{message}", "link": link, "links": 4,
                           "delivered_at": delivered},
        }
        for message, links in (("scanned", "abcd"), ("read", "a"))
        for link in links
    ]  # fmt: skip
    crawled = {
        "type": "page",
        "userId": user,
        "messageId": f"{user}-crawled",
        "context": {"userAgent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"},
    }
    answer = shop.http.post("/v1/batch", json={"batch": [*clicks, crawled]}).json()
    assert (answer["accepted"], answer["machine"]) == (0, 6)
    assert shop.http.get("/v1/machines").json()["held"] in (0, 5)
    shop.move(timedelta(seconds=30))
    settled = shop.run("machines")
    assert (settled["people"], settled["machines"]) == (1, 4)
    counted = [fact["id"] for fact in shop.history(user) if fact["kind"] == "event"]
    assert counted == [f"{user}-read-a"]
    reasons = shop.http.get("/v1/machines").json()["by_reason"]
    assert sorted(reasons.values()) == [1, 4]
    released = shop.http.post(f"/v1/machines/{user}-crawled/release")
    assert (released.status_code, released.json()["outcome"]) == (200, "recorded")
    assert shop.http.post(f"/v1/machines/{user}-crawled/release").status_code == 404
    assert "page_viewed" in [fact["label"] for fact in shop.history(user) if fact["kind"] == "event"]


def test_figures_and_unused_properties_are_told(shop: Running, user: str) -> None:
    shop.order(user, "COFFEE")
    send(shop, "page_viewed", properties={"path": "/", "nobody_asks": 1})
    refused = shop.http.post("/v1/batch", json={"batch": [{"type": "track", "userId": user}]})
    assert len(refused.json()["refused"]) == 1
    shop.run("quality")
    told = shop.http.get("/v1/quality").json()
    assert told["total"]["refused"] >= 1
    by_event = {one["event"]: one for one in told["utilisation"]["events"]}
    assert by_event["order_completed"]["used"] == ["categories", "lines", "value"]
    assert {"nobody_asks", "path"} <= set(by_event["page_viewed"]["unused"])
    assert 0 < told["utilisation"]["rate"] < 1
    assert by_event["identify"]["never_received"]
    assert shop.http.get("/v1/quality/hours?hours=1").json()
