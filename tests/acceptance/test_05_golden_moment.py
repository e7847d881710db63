"""Stories 5 and 1: three visits in ten minutes are a task at once; browsed, not bought, after three days."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from decision.demo.run import LIBRARY
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running
from tests.launching import running_service

TRIGGERS = """
triggers:
  - id: golden_moment
    name: Three visits to the pricing page within ten minutes
    when: {event: page_viewed, where: "event.path = '/pricing'", properties: {path: text},
           count: 3, within: PT10M}
  - id: browsed_a
    name: Browsed product A, not bought
    when:
      event: product_viewed
      where: "event.product = 'A'"
      properties: {product: text}
      unless: {event: order_completed, after: P3D}
    tag: {tag: browsed_a_no_order}
  - {id: call, name: Somebody says so, when: {by_hand: true}}
  - {id: buys, name: Buys, when: {entered: buys_now}}
"""
AUDIENCE = """
  - {id: buys_now, name: Bought in four weeks, rule: orders_4w > 0}
  - id: browsed_a_idle
    name: Browsed A, no order in a quarter
    rule: tag('browsed_a_no_order') AND coalesce(orders_12w, 0) = 0
"""


PEOPLE = """
owners: {account_trait: salesperson}
teams: [{id: sales, name: Sales}]
people: [{id: ann, name: Ann, team: sales}, {id: bob, name: Bob, team: sales}]
"""
CALL = """
id: call_now
name: Call at the golden moment
trigger: golden_moment
placement: outbound
goal: {event: order_completed, window: P7D}
variants: [{offers: [bacon], channel: mailbox, content: offer_notice}]
flow:
  start: call
  states:
    call:
      kind: task
      title: Call them now
      assignee: sales
      assign: owner
      due_in: PT30M
      results: {reached: over}
      on_overdue: over
    over: {kind: end, result: over}
"""
# Whoever has the moment is called.
POLICY = """
id: moments
placements: [outbound]
reward: {low: 0, high: 1}
exploration: {kind: single, variant: call_now/bacon}
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data: Path = tmp_path_factory.mktemp("triggers")
    shutil.copytree(LIBRARY, data / "library")
    for name, document in (
        ("triggers", TRIGGERS),
        ("people", PEOPLE),
        ("policy", POLICY),
        ("playbooks/call_now", CALL),
    ):
        (data / "library" / f"{name}.yaml").write_text(document)
    audiences = data / "library" / "audiences.yaml"
    text = audiences.read_text()
    audiences.write_text(text.replace("audiences:", "audiences:" + AUDIENCE.rstrip(), 1))
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)


def track(shop: Running, user: str, event: str, **properties: str) -> None:
    message = {"userId": user, "event": event, "properties": properties, "messageId": str(uuid4())}
    assert shop.http.post("/v1/track", json=message).status_code == 200


def fired(shop: Running, user: str) -> list[str]:
    shop.run("triggers")
    return [fact["label"] for fact in shop.history(user) if fact["kind"] == "trigger"]


def test_three_visits_within_ten_minutes_are_a_task_of_the_accounts_salesperson_at_once(
    shop: Running, user: str
) -> None:
    group = {"userId": user, "groupId": "acme", "traits": {"salesperson": "bob"}}
    assert shop.http.post("/v1/group", json=group).json()["accepted"] == 1
    for _ in range(2):
        track(shop, user, "page_viewed", path="/pricing")
        track(shop, user, "page_viewed", path="/about")
        shop.move(timedelta(minutes=4))
    assert fired(shop, user) == []
    track(shop, user, "page_viewed", path="/pricing")
    assert fired(shop, user) == ["golden_moment"]
    assert fired(shop, user) == ["golden_moment"]
    shop.run("deliver")
    (task,) = shop.http.get("/v1/tasks", params={"person": "bob", "standing": "open"}).json()["tasks"]
    assert (task["user_id"], task["title"], task["team"]) == (user, "Call them now", "sales")
    assert task["opened_at"] == shop.now.isoformat().replace("+00:00", "Z")
    # The person reads what led here before the call.
    history = shop.http.get(f"/v1/tasks/{task['id']}").json()["history"]
    visits = [one for one in history["events"] if one["properties"].get("path") == "/pricing"]
    assert (len(visits), history["triggers"][0]["trigger"]) == (3, "golden_moment")


def test_who_was_there_when_the_audience_began_starts_nothing(shop: Running, user: str) -> None:
    later = f"{user}-later"
    shop.order(user, "COFFEE", days_ago=3)
    shop.run("features", "audiences")
    assert fired(shop, user) == []
    (entered,) = (one for one in shop.history(user) if one["label"] == "buys_now.entered")
    assert entered["body"]["quiet"] is True
    shop.order(later, "COFFEE", days_ago=2)
    shop.run("features", "audiences")
    assert (fired(shop, later), fired(shop, user)) == (["buys"], [])
    assert (
        shop.http.post("/v1/triggers/cal/fire", json={"user_ids": [user], "by": "sam", "key": "1"})
        .json()["detail"]
        .endswith('did you mean "call"?')
    )


def test_browsed_and_not_bought_is_tagged_and_selected(shop: Running, user: str) -> None:
    shop.order(user, "COFFEE", days_ago=200)
    track(shop, user, "product_viewed", product="A")
    shop.move(timedelta(days=2))
    track(shop, user, "product_viewed", product="A")
    shop.move(timedelta(days=2))
    assert fired(shop, user) == []
    shop.move(timedelta(days=1))
    assert fired(shop, user) == ["browsed_a"]
    shop.run("features", "audiences")
    page = shop.http.get(f"/v1/users/{user}").json()
    assert "browsed_a_no_order" in page["tags"]
    assert "browsed_a_idle" in page["audiences"]
    audiences = {one["id"]: one for one in shop.http.get("/v1/audiences").json()}
    assert audiences["browsed_a_idle"]["size"] >= 1
    assert audiences["browsed_a_idle"]["as_of"] is not None


def test_by_hand(shop: Running, user: str) -> None:
    url = "/v1/triggers/call/fire"
    body = {"user_ids": [user], "by": "sam", "key": f"k-{user}"}
    unknown = shop.http.post(url, json=body)
    assert (unknown.status_code, "nothing was fired" in unknown.json()["detail"]) == (404, True)
    track(shop, user, "page_viewed", path="/")
    assert shop.http.post(url, json=body).json() == {"fired": 1}
    assert shop.http.post(url, json=body).json() == {"fired": 0}
    assert shop.http.post("/v1/triggers/cal/fire", json=body).status_code == 404
    assert shop.http.post(url, json={**body, "user_ids": []}).status_code == 422
    listed = {one["id"]: one["users"] for one in shop.http.get("/v1/triggers").json()}
    assert listed["call"] == 1
