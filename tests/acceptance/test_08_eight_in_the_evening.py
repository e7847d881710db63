"""Story 8: a tag matches a plan; at eight in the user's evening the coupon goes out by SMS, and is used."""

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from delivery.sandbox.running import Sandbox
from tests.acceptance.driver import Running

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "channels.md"
PHONES = {"tokyo": "+819012345678", "berlin": "+4915112345678"}
ZONES = {"tokyo": "Asia/Tokyo", "berlin": "Europe/Berlin"}


def texts(provider: Sandbox, user: str) -> list[str]:
    return [one.text for one in provider.taking.all() if one.to == PHONES[user]]


def tags(shop: Running, user: str) -> set[str]:
    return {one["tag"] for one in shop.http.get(f"/v1/users/{user}/tags").json()}


def look_at_the_app(shop: Running, user: str, text: str) -> None:
    """Do what the how-to says, and see the message in the app, read, and gone."""
    (lines,) = re.findall(r"```sh\n(curl [^`]*inbox[^`]*)```", PAGE.read_text(encoding="utf-8"))
    authorization = shop.http.headers["authorization"]

    def curl(line: str, message: str = "") -> dict[str, Any]:
        command = line.replace("http://127.0.0.1:8321", str(shop.http.base_url).rstrip("/")).replace(
            "/ann/", f"/{user}/"
        )
        variables = {**os.environ, "KEY": authorization.removeprefix("Bearer "), "MESSAGE": message}
        done = subprocess.run(["bash", "-c", command], env=variables, capture_output=True, check=True)
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    show, read, dismiss = lines.splitlines()
    (message,) = curl(show)["messages"]
    assert (message["body"], message["read_at"]) == (text, None)
    assert curl(read, message["key"])["read_at"] is not None
    assert curl(show) == {"messages": [], "unread": 0, "next": None}
    assert curl(dismiss, message["key"])["dismissed_at"] is not None
    assert shop.http.get(f"/v1/users/{user}/inbox").json()["messages"] == []


def test_the_coupon_goes_out_at_eight_is_used_and_the_decision_is_rewarded(
    shop: Running, provider: Sandbox
) -> None:
    provider.taking.forget()
    shop.move((shop.now + timedelta(days=1)).replace(hour=6, minute=0) - shop.now)
    for user, zone in ZONES.items():
        shop.order(user, "COFFEE", days_ago=30)
        shop.identify(user, days_ago=30, phone=PHONES[user], zone=zone)
        message = {
            "messageId": str(uuid4()),
            "userId": user,
            "event": "product_viewed",
            "timestamp": shop.now.isoformat(),
            "properties": {"product": "A"},
        }
        assert shop.http.post("/v1/track", json=message).json()["accepted"] == 1
    shop.run("push", "features", "audiences", "triggers")
    shop.move(timedelta(days=3, minutes=1))
    shop.run("triggers")
    assert all("browsed_a_no_order" in tags(shop, user) for user in ZONES)
    shop.run("features", "audiences", "triggers", "deliver")
    assert [texts(provider, user) for user in ZONES] == [[], []]

    # Eight in Tokyo is 11:00 UTC.
    shop.move(shop.now.replace(hour=10, minute=59) - shop.now)
    shop.run("deliver")
    assert texts(provider, "tokyo") == []
    shop.move(timedelta(minutes=1))
    shop.run("deliver")
    (text,) = texts(provider, "tokyo")
    assert texts(provider, "berlin") == []
    shop.move(shop.now.replace(hour=19) - shop.now)
    shop.run("deliver")
    assert len(texts(provider, "berlin")) == len(texts(provider, "tokyo")) == 1

    look_at_the_app(shop, "tokyo", text)

    offer, _, code = text.partition(": ")
    assert offer == "Five off A"
    order = {"order_id": str(uuid4()), "user_id": "tokyo", "basket": {"total": "30.00 EUR"}}
    redeemed = shop.http.post(f"/v1/coupons/{code}/redeem", json=order)
    assert redeemed.status_code == 200, redeemed.text
    shop.run("deliver")
    assert tags(shop, "tokyo") >= {"bought_A", "used_coupon"}
    assert not tags(shop, "berlin") & {"bought_A", "used_coupon"}

    shop.move(timedelta(days=4))
    shop.run("deliver", "reward")
    for user, expected in (("tokyo", 1.0), ("berlin", 0.0)):
        history = shop.history(user)
        (decision,) = [one["id"] for one in history if one["kind"] == "decision"]
        rewards = {one["id"]: one["body"]["value"] for one in history if one["kind"] == "reward"}
        assert rewards[decision] == expected, user
    assert len(texts(provider, "tokyo")) == 1
