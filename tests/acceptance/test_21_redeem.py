"""Story 21: a thousand redemptions at once of a limit of a hundred; and the page that tells shops how."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from decision.coupon_commands import app as commands
from tests.acceptance.driver import Running

DOCS = Path(__file__).parents[2] / "docs"
FLOW = {
    "start": "give",
    "states": {
        "give": {"kind": "issue", "next": "wait"},
        "wait": {
            "kind": "wait_for_event",
            "event": "coupon_redeemed",
            "timeout": "P10D",
            "on_event": "goal",
            "on_timeout": "over",
        },
        "goal": {"kind": "goal", "next": "done"},
        "done": {"kind": "end", "result": "redeemed"},
        "over": {"kind": "end", "result": "over"},
    },
}
OFFERS = [
    {
        "id": "welcome",
        "name": "A tenth off your first orders",
        "kind": "percentage",
        "percent": 10,
        "ceiling": "15.00 EUR",
        "minimum_spend": "20.00 EUR",
        "redemptions": {"per_user": 2, "in_all": 1000},
    },
    {"id": "thanks", "name": "Five off", "kind": "fixed_amount", "value": "5.00 EUR"},
]


@pytest.fixture(scope="module")
def shop(service: Running) -> Iterator[Running]:
    """The service with two offers more, one of them given by a playbook above all others."""
    playbook = {
        "id": "thanks",
        "name": "Thanks",
        "placement": "outbound",
        "priority": 99,
        "goal": {"event": "coupon_redeemed", "window": "P7D", "value": 1},
        "variants": [{"offer": "thanks", "channel": "mailbox", "content": "thanks"}],
        "flow": FLOW,
    }
    content = {"id": "thanks", "subject": "Thanks", "body": "Take {{ offer.name }}."}
    document = {"offers": OFFERS, "contents": [content], "playbooks": [playbook], "publish": True}
    done = service.http.post("/v1/library/import", json=document)
    assert done.status_code == 200, done.text
    yield service
    service.http.post("/v1/playbooks/thanks/retire")


def call(shop: Running, code: str, what: str, **body: Any) -> tuple[int, dict[str, Any]]:
    response = shop.http.post(f"/v1/coupons/{code}/{what}", json=body)
    return response.status_code, response.json()


def test_a_thousand_redemptions_at_once_of_a_limit_of_a_hundred(shop: Running) -> None:
    code = f"RUSH-{uuid4().hex[:8]}".upper()
    made = shop.http.post("/v1/coupons", json={"code": code, "offer": "thanks", "uses": 100})
    assert (made.status_code, made.json()["uses"]) == (201, 100), made.text
    basket = {"total": "30.00 EUR"}

    def redeem(number: int) -> int:
        return call(shop, code, "redeem", order_id=f"{code}-{number}", basket=basket)[0]

    with ThreadPoolExecutor(64) as pool:
        statuses = list(pool.map(redeem, range(1_000)))
    assert (statuses.count(200), statuses.count(409)) == (100, 900)
    # Who was answered yes is answered yes again, and it counts once.
    first = statuses.index(200)
    assert redeem(first) == 200
    status, told = call(shop, code, "redeem", order_id=f"{code}-late", basket=basket)
    assert (status, told["type"]) == (409, "urn:nextplay:problem:coupon-refused")
    assert told["reasons"] == [{"reason": "used_up", "detail": "all 100 uses of the code are taken"}]

    with ThreadPoolExecutor(8) as pool:
        gone = list(pool.map(lambda _: call(shop, code, "rollback", order_id=f"{code}-{first}"), range(8)))
    assert {(status, told["standing"]) for status, told in gone} == {(200, "rolled_back")}
    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(redeem, range(2_000, 2_008))) == [200] + [409] * 7
    assert redeem(first) == 409
    assert len(shop.http.get(f"/v1/coupons/{code.lower()}").json()["orders"]) == 100


def test_a_coupon_from_the_decision_to_its_redemption(shop: Running) -> None:
    user = f"redeemer-{uuid4().hex[:10]}"
    shop.order(user, "COFFEE", days_ago=3)
    shop.run("push", "features", "audiences")
    decision = shop.acting_decision(user)
    assert decision["playbook"] == "thanks"
    shop.run("deliver")
    (coupon,) = shop.http.get(f"/v1/users/{user}/coupons").json()["coupons"]
    assert (coupon["state"], coupon["decision_id"]) == ("issued", decision["decision_id"])
    code, basket = coupon["code"], {"total": "3.00 EUR"}
    assert call(shop, code, "validate", basket=basket)[1]["discount"] == {"amount": 300, "currency": "EUR"}
    status, _ = call(shop, code, "redeem", order_id=f"{user}-1", basket=basket, user_id=user)
    assert status == 200
    shop.run("deliver")
    facts = {(one["kind"], one["label"]) for one in shop.history(user)}
    assert {("event", "coupon_redeemed"), ("coupon", "redeemed"), ("coupon", "used")} <= facts
    # The flow waited for the redemption, and marks nothing a second time.
    assert [one["label"] for one in shop.history(user) if one["kind"] == "coupon"].count("used") == 1
    shop.move(timedelta(days=8))
    shop.run("reward")
    rewards = [one["body"] for one in shop.history(user) if one["kind"] == "reward"]
    assert [one["value"] for one in rewards if one["decision_id"] == decision["decision_id"]] == [1.0]


def test_a_stock_of_codes_stops_its_arm_when_it_is_empty(shop: Running, tmp_path: Path) -> None:
    offer = {"id": "ticket", "name": "A ticket", "codes": "stock"}
    flow = {
        "start": "give",
        "states": {"give": {"kind": "issue", "next": "over"}, "over": {"kind": "end", "result": "given"}},
    }
    playbook = {
        "id": "tickets",
        "name": "Tickets",
        "placement": "outbound",
        "priority": 100,
        "goal": {"event": "order_completed", "window": "P7D"},
        "variants": [{"offer": "ticket", "channel": "mailbox", "content": "thanks"}],
        "flow": flow,
    }
    content = {"id": "thanks", "subject": "Thanks", "body": "Take {{ offer.name }}."}
    document = {"offers": [offer], "contents": [content], "playbooks": [playbook], "publish": True}
    done = shop.http.post("/v1/library/import", json=document)
    assert done.status_code == 200, done.text
    users = [f"fan-{uuid4().hex[:10]}" for _ in range(2)]
    for user in users:
        shop.order(user, "COFFEE", days_ago=3)
    shop.run("push", "features", "audiences")

    def suppressed(user: str) -> bool:
        decided = shop.decide(user).json()["decision_id"]
        record = shop.http.get(f"/v1/decisions/{decided}").json()
        return "tickets" in json.dumps(record["suppressed"].get("stock.ticket", []))

    assert suppressed(users[0])
    codes = tmp_path / "codes.csv"
    nextplay = partial(_command, shop)
    codes.write_text("code\nSEAT-A1\nSEAT-A1\n")
    assert "line 3: the code is that of line 2" in nextplay("import-stock", str(codes), "--offer", "ticket")
    codes.write_text("code\nSEAT-A1\n")
    assert nextplay("import-stock", str(codes), "--offer", "ticket") == "1 codes added to the stock of ticket"
    assert nextplay("stock") == "ticket\t1 of 1 left, 0 given in 7 days"
    for _ in range(20):
        if shop.decide(users[0]).json()["playbook"] == "tickets":
            break
    shop.run("deliver")
    # One code, and one user who has it: from here on the arm is stopped before it is drawn.
    assert suppressed(users[1])
    assert nextplay("show", "SEAT-A1").startswith(f"SEAT-A1\tissued\tticket of {users[0]}")
    assert nextplay("void", "SEAT-A1").startswith("SEAT-A1\tvoid")
    assert nextplay("stock").endswith("LOW")
    assert shop.http.post("/v1/playbooks/tickets/retire").status_code == 200


def _command(shop: Running, *arguments: str) -> str:
    options = ["--url", str(shop.http.base_url), "--key", shop.http.headers["authorization"].split()[1]]
    done = CliRunner().invoke(commands, [*arguments, *options])
    return (done.output or str(done.exception)).strip()


def test_the_page_for_shops_says_what_is_answered(shop: Running) -> None:
    page = (DOCS / "how-to" / "checkout.md").read_text(encoding="utf-8")
    asked: tuple[str, str] | None = None
    compared = 0
    for language, block in re.findall(r"```(http|json)\n(.*?)```", page, re.S):
        if language == "http":
            line, _, body = block.partition("\n")
            method, path = line.split()
            response = shop.http.request(method, path, json=json.loads(body))
            assert response.status_code in (200, 201), (path, response.text)
            asked = (path, response.text)
            continue
        assert asked is not None
        told, answered = json.loads(block), json.loads(asked[1])
        assert {name: answered.get(name) for name in told} == told, asked
        compared += 1
    assert compared == 5


def test_bad_input_is_named_and_changes_nothing(shop: Running) -> None:
    def said(body: dict[str, Any], path: str = "NO-SUCH-CODE/validate") -> tuple[int, str]:
        response = shop.http.post(f"/v1/coupons/{path}", json=body)
        return response.status_code, response.json().get("detail", "")

    status, detail = said({"basket": {"total": "45 euros"}})
    assert status == 422
    assert "write an amount and its currency" in detail
    mixed = {"total": "45.00 EUR", "items": [{"value": "5.00 USD"}]}
    assert said({"basket": mixed})[0] == 422
    assert "items.0.value 5.00 USD" in said({"basket": mixed})[1]
    assert said({"basket": {"total": "1.00 EUR"}, "order": "x"})[0] == 422
    basket = {"total": "45.00 EUR"}
    assert said({"order_id": "", "basket": basket}, "X/redeem")[0] == 422
    assert said({"order_id": "o", "basket": basket, "lasting": "P2D"}, "X/reserve")[0] == 422
    assert said({"order_id": "o"}, "NO-SUCH-CODE/rollback") == (
        404,
        "there is no coupon of this code: check how it is written",
    )
    # Whoever goes on guessing is told when to come back, and no more.
    guess = {"user_id": "guesser", "visitor": "192.0.2.7", "basket": basket}
    assert [said(guess)[0] for _ in range(10)] == [200] * 10
    shop.http.post("/v1/coupons", json={"code": "SPRING", "offer": "welcome", "uses": 1})
    response = shop.http.post("/v1/coupons/SPRING/validate", json=guess)
    assert (response.status_code, response.headers["retry-after"]) == (429, "600")
    assert response.json()["title"] == "too many guesses"
    other = {"user_id": "bea", "basket": basket}
    assert shop.http.post("/v1/coupons/SPRING/validate", json=other).json()["valid"]
    response = shop.http.post("/v1/coupons", json={"code": "SPRING", "offer": "welcom"})
    assert (response.status_code, response.json()["detail"]) == (
        422,
        "there is no offer 'welcom' in the library, did you mean 'welcome'?",
    )
