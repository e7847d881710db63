"""Story 24: any decision by its id, replayed with the identical answer; the user's history on one page."""

from __future__ import annotations

import pytest

from tests.acceptance.driver import Running


def test_a_decision_is_shown_and_replayed(service: Running, user: str) -> None:
    service.order(user, "COFFEE", "BACON", days_ago=3)
    service.run("features", "audiences")
    answer = service.decide(user).json()
    record = service.http.get(f"/v1/decisions/{answer['decision_id']}").json()
    assert record["user_id"] == user
    assert record["arms"][-1] == "do_nothing"
    assert len(record["probabilities"]) == len(record["arms"]) == len(record["scores"]) + 1
    assert abs(sum(record["probabilities"]) - 1) < 1e-9
    assert record["propensity"] == answer["propensity"]
    again = service.http.post(f"/v1/decisions/{answer['decision_id']}/replay").json()
    assert again["identical"] is True
    assert again["arm"] == answer["variant"]


def test_a_decision_is_scored_again(service: Running, user: str) -> None:
    service.order(user, "COFFEE", days_ago=3)
    service.run("features", "audiences")
    decision = service.decide(user).json()["decision_id"]
    again = service.http.post(f"/v1/decisions/{decision}/rescore").json()
    assert again["agrees"] is True
    assert len(again["scores"]) == len(again["arms"]) > 1
    assert again["largest_difference"] < 1e-6


def test_a_decision_is_explained(service: Running, user: str) -> None:
    service.order(user, "COFFEE", days_ago=3)
    service.run("features", "audiences")
    asked = {"user_id": user, "placement": "outbound", "explain": True}
    answer = service.http.post("/v1/decide", json=asked).json()
    explained = service.http.get(f"/v1/decisions/{answer['decision_id']}/explain").json()
    assert explained == answer["explanation"]
    assert explained["stopped"] == {"priority": ["everyone"]}
    (chosen,) = [one for one in explained["candidates"] if one["chosen"]]
    assert (chosen["arm"], chosen["probability"]) == (answer["variant"], answer["propensity"])
    assert sum(one["probability"] for one in explained["candidates"]) == pytest.approx(1)
    assert all(one["parts"] for one in explained["candidates"] if one["arm"] != "do_nothing")


def test_why_a_decision_is_not_scored_again_is_said(service: Running) -> None:
    answer = service.decide("nobody-we-know").json()
    response = service.http.post(f"/v1/decisions/{answer['decision_id']}/rescore")
    assert response.status_code == 409
    assert "is a fallback (unknown_user)" in response.json()["detail"]
    assert service.http.post("/v1/decisions/none/rescore").status_code == 404


def test_a_fallback_replays_too(service: Running) -> None:
    answer = service.decide("nobody-we-know").json()
    assert service.http.post(f"/v1/decisions/{answer['decision_id']}/replay").json()["identical"] is True


def test_the_history_shows_everything_newest_first(service: Running, user: str) -> None:
    service.order(user, "COFFEE", days_ago=3)
    service.run("features", "audiences")
    decision = service.acting_decision(user)
    service.run("deliver")
    page = service.http.get(f"/v1/users/{user}").json()
    assert page["audiences"] == ["new_shopper"]
    times = [fact["occurred_at"] for fact in page["history"]]
    assert times == sorted(times, reverse=True)
    kinds = {fact["kind"] for fact in page["history"]}
    assert {"event", "audience", "decision", "enrolment", "coupon", "message"} <= kinds
    assert decision["decision_id"] in {fact["id"] for fact in page["history"]}
