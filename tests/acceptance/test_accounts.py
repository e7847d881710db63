"""Accounts over HTTP: messages say who is of which, rules and the account's page speak of its features."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from tests.acceptance.driver import Running


def belongs(service: Running, user: str, account: str) -> None:
    """Send the message that a user belongs to an account."""
    message = {
        "messageId": str(uuid4()),
        "userId": user,
        "groupId": account,
        "timestamp": service.now.isoformat(),
    }
    assert service.http.post("/v1/group", json=message).json()["accepted"] == 1


def audiences_of(service: Running, user: str) -> set[str]:
    """The audiences that a user is in."""
    return set(service.http.get(f"/v1/users/{user}").json()["audiences"])


def test_an_account_s_users_are_selected_together_and_go_with_who_moves(service: Running) -> None:
    tail = uuid4().hex[:8]
    ann, bob, eve, zoe = (f"{name}-{tail}" for name in ("ann", "bob", "eve", "zoe"))
    acme, bolt, name = f"acme-{tail}", f"bolt-{tail}", f"account_buys_{tail}"
    for user, account in ((ann, acme), (bob, acme), (eve, bolt)):
        belongs(service, user, account)
    for user in (ann, ann, bob, eve, zoe, zoe, zoe):
        service.order(user, "COFFEE", days_ago=1)
    rule = {"id": name, "name": "Its account buys", "rule": "account.orders_12w >= 3"}
    assert service.http.post("/v1/audiences", json=rule).status_code == 201
    service.run("features", "audiences")
    assert [name in audiences_of(service, user) for user in (ann, bob, eve, zoe)] == [
        True,
        True,
        False,
        False,
    ]
    shown = service.http.get(f"/v1/accounts/{acme}").json()
    assert (shown["features"]["orders_12w"], shown["features"]["active_users_12w"]) == (3, 2)
    assert shown["features_as_of"] is not None

    # Ann goes to bolt with her two orders: there are three then, and one is left at acme.
    belongs(service, ann, bolt)
    service.move(timedelta(minutes=16))
    service.run("features", "audiences")
    assert [name in audiences_of(service, user) for user in (ann, bob, eve)] == [True, False, True]

    # Who is erased leaves the account too.
    assert service.http.delete(f"/v1/users/{ann}").status_code in (200, 202)
    service.move(timedelta(minutes=16))
    service.run("features", "audiences")
    assert service.http.get(f"/v1/accounts/{bolt}").json()["features"]["orders_12w"] == 1
    assert name not in audiences_of(service, eve)


def test_a_rule_over_an_account_names_what_there_is(service: Running) -> None:
    rule = {"id": f"wrong_{uuid4().hex[:8]}", "name": "Wrong", "rule": "account.order_12w >= 3"}
    answer = service.http.post("/v1/audiences", json=rule)
    assert answer.status_code == 422
    assert 'did you mean "account.orders_12w"?' in answer.json()["detail"]
