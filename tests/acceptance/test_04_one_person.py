"""Story 4: web visits, an e-mail click, a phone at a store and a messenger id become one user."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.acceptance.driver import Running


@pytest.fixture
def mark() -> str:
    """What tells this test's ids from those of others."""
    return uuid4().hex[:10]


def send(service: Running, type_: str, **message: Any) -> None:
    body = {"messageId": str(uuid4()), "timestamp": service.now.isoformat(), **message}
    response = service.http.post(f"/v1/{type_}", json=body)
    assert response.status_code == 200, response.text


def order(service: Running, *categories: str, days_ago: float, **who: Any) -> None:
    lines = [{"category": one, "quantity": 1, "value": 2.5, "discount": 0.5} for one in categories]
    properties = {"value": 2.5, "categories": list(categories), "lines": lines}
    at = (service.now - timedelta(days=days_ago)).isoformat()
    send(service, "track", event="order_completed", properties=properties, **{"timestamp": at, **who})


def verified(kind: str, value: str) -> dict[str, Any]:
    return {"externalIds": [{"id": value, "type": kind, "collection": "users"}], "verified": [kind]}


def person(service: Running, id_: str) -> dict[str, Any]:
    response = service.http.get(f"/v1/users/{id_}", params={"limit": 500})
    assert response.status_code == 200, response.text
    shown: dict[str, Any] = response.json()
    return shown


def events_by_profile(shown: dict[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for fact in shown["history"]:
        if fact["kind"] == "event":
            found[fact["profile"]] = found.get(fact["profile"], 0) + 1
    return found


def become_one(service: Running, mark: str) -> str:
    """Web visits, a login, an e-mail click, a store and a messenger; returns the user's id."""
    user, email = f"ann-{mark}", f"ann-{mark}@example.com"
    phone = f"+49 1512 {int(mark, 16) % 10_000_000:07}"
    send(service, "page", anonymousId=f"web-{mark}", name="Pricing")
    send(
        service,
        "identify",
        anonymousId=f"web-{mark}",
        userId=user,
        timestamp=(service.now - timedelta(days=20)).isoformat(),
        traits={"email": email, "phone": phone, "email_verified": True, "phone_verified": True},
    )
    send(
        service, "track", anonymousId=f"mail-{mark}", event="email_clicked", context=verified("email", email)
    )
    order(service, "COFFEE", days_ago=10, userId=f"till-{mark}", context=verified("phone", phone))
    send(service, "identify", userId=f"till-{mark}", context=verified("wechat_open_id", f"o-{mark}"))
    send(
        service,
        "track",
        anonymousId=f"chat-{mark}",
        event="menu_opened",
        context=verified("wechat_open_id", f"o-{mark}"),
    )
    return user


def test_many_channels_become_one_user(service: Running, mark: str) -> None:
    user = become_one(service, mark)
    members = {user, f"till-{mark}", *(f"anonymous:{one}-{mark}" for one in ("web", "mail", "chat"))}
    shown = person(service, user)
    assert set(shown["members"]) == members
    assert events_by_profile(shown).keys() == members
    for other in (f"till-{mark}", f"anonymous:chat-{mark}", f"email:ANN-{mark}@example.com"):
        assert person(service, other) == shown
    held = service.http.get(f"/v1/users/till-{mark}/identities").json()
    assert {one["kind"] for one in held["identities"]} == {"email", "phone", "wechat_open_id"}
    assert {one["cause"] for one in held["joins"]} == {"anonymous", "identity"}
    found = service.http.get("/v1/identities", params={"kind": "wechat_open_id", "value": f"o-{mark}"}).json()
    assert (found["user_id"], found["shared"]) == (user, None)


def test_features_audiences_and_decisions_are_the_persons(service: Running, mark: str) -> None:
    user = become_one(service, mark)
    service.run("features", "audiences")
    shown = person(service, user)
    # The order was made at the till; only the person is a user of audiences.
    assert shown["audiences"] == ["new_shopper"]
    by_user = service.decide(user).json()
    assert by_user["fallback"] is None
    by_identity = service.http.post(
        "/v1/decide",
        json={"identity": {"kind": "email", "value": f"Ann-{mark}@example.com"}, "placement": "outbound"},
    ).json()
    by_member = service.decide(f"anonymous:web-{mark}").json()
    for answer in (by_user, by_identity, by_member):
        record = service.http.get(f"/v1/decisions/{answer['decision_id']}").json()
        assert record["user_id"] == user
        assert service.http.post(f"/v1/decisions/{answer['decision_id']}/replay").json()["identical"]


def test_caps_follow_a_person_and_a_wrong_merge_loses_nothing(service: Running, mark: str) -> None:
    ann, bob = f"ann-{mark}", f"bob-{mark}"
    for user in (ann, bob):
        order(service, "COFFEE", days_ago=3, userId=user)
    service.run("features", "audiences")
    before = {user: person(service, user) for user in (ann, bob)}
    decided = [service.acting_decision(user) for user in (ann, ann, bob, bob)]
    assert {one["playbook"] for one in decided} == {"welcome"}

    merged = service.http.post("/v1/users/merge", json={"from": bob, "into": ann, "reason": "same address"})
    assert merged.status_code == 200, merged.text
    assert (merged.json()["user_id"], set(merged.json()["members"])) == (ann, {ann, bob})
    service.run("features", "audiences")
    # Two uses of each make four, which is all that the cap allows in two months.
    answer = service.acting_decision(bob)
    assert answer["suppressed"] == {"cap.welcome.two_months": ["welcome"]}

    undone = service.http.post(f"/v1/merges/{merged.json()['id']}/undo", json={"reason": "two people"})
    assert undone.json() == {"id": merged.json()["id"], "apart": True, "still_by": []}
    service.run("features", "audiences")
    after = {user: person(service, user) for user in (ann, bob)}
    for user in (ann, bob):
        assert after[user]["members"] == [user]
        assert after[user]["audiences"] == before[user]["audiences"]
        kept = {fact["id"] for fact in before[user]["history"]}
        assert kept <= {fact["id"] for fact in after[user]["history"]}
        assert {fact["profile"] for fact in after[user]["history"]} == {user}
        assert service.acting_decision(user)["playbook"] == "welcome"


def test_every_join_and_undo_says_who_and_why(service: Running, mark: str) -> None:
    user = become_one(service, mark)
    page = service.http.get("/v1/merges", params={"user_id": user, "limit": 2}).json()
    rest = service.http.get(
        "/v1/merges", params={"user_id": user, "limit": 100, "cursor": page["next"]}
    ).json()
    merges = page["merges"] + rest["merges"]
    assert rest["next"] is None
    assert len({one["id"] for one in merges}) == len(merges) == 4
    (by_phone,) = (one for one in merges if (one["evidence"] or {}).get("kind") == "phone")
    reason = {"reason": "the phone is her brother's"}
    parted = service.http.post(f"/v1/merges/{by_phone['id']}/undo", json=reason).json()
    assert parted["apart"]
    assert person(service, f"till-{mark}")["members"] == [f"anonymous:chat-{mark}", f"till-{mark}"]
    (shown,) = (
        one
        for one in service.http.get("/v1/merges", params={"user_id": user}).json()["merges"]
        if one["id"] == by_phone["id"]
    )
    assert shown["undone"]["why"] == reason["reason"]
    assert shown["undone"]["by"]
    again = service.http.post(f"/v1/merges/{by_phone['id']}/undo", json=reason)
    assert again.status_code == 409
    assert "undone at" in again.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"from": "ann", "into": "ann", "reason": "r"}, 404, "'ann'"),
        ({"from": "nobody", "into": "nobody-else", "reason": "r"}, 404, "check the id"),
        ({"from": "nobody", "into": "nobody-else"}, 422, "reason"),
        ({"from": "", "into": "x", "reason": "r"}, 422, "from"),
        ({"from": "a\u0000", "into": "x", "reason": "r"}, 422, "control character"),
        ({"from": "a", "into": "x", "reason": "r", "force": True}, 422, "force"),
    ],
)
def test_a_wrong_merge_request_is_told_what_is_wrong(
    service: Running, body: dict[str, Any], status: int, said: str
) -> None:
    response = service.http.post("/v1/users/merge", json=body)
    assert response.status_code == status, response.text
    assert said in response.json()["detail"]


def test_what_is_not_there_is_said(service: Running) -> None:
    for method, path, json in (
        ("GET", "/v1/users/nobody/identities", None),
        ("GET", "/v1/identities?kind=email&value=nobody@example.com", None),
        ("GET", "/v1/identities?kind=email&value=nobody", None),
        ("POST", "/v1/merges/none/undo", {"reason": "r"}),
    ):
        response = service.http.request(method, path, json=json)
        assert response.status_code == 404, (path, response.text)
    for asked in ({"placement": "outbound"}, {"user_id": "a", "identity": {"kind": "email", "value": "b"}}):
        response = service.http.post("/v1/decide", json={"placement": "outbound", **asked})
        assert response.status_code == 400
        assert "either `user_id` or `identity`" in response.json()["detail"]
    unknown = {"identity": {"kind": "email", "value": "nobody@example.com"}, "placement": "outbound"}
    assert service.http.post("/v1/decide", json=unknown).json()["fallback"] == "unknown_user"
    # A kind that nobody was ever known by is a mistake of whoever asks.
    misspelt = {"identity": {"kind": "emial", "value": "nobody@example.com"}, "placement": "outbound"}
    for response in (
        service.http.post("/v1/decide", json=misspelt),
        service.http.get("/v1/identities?kind=emial&value=nobody@example.com"),
    ):
        assert response.status_code == 422, response.text
        assert "did you mean 'email'?" in response.json()["detail"]
        assert "anonymous_id, " in response.json()["detail"]
