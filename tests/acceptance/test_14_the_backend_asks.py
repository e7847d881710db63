"""Story 14: the backend asks and always gets a usable answer, with the reason where it is a fallback."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.driver import Running


@pytest.fixture
def shopper(service: Running, user: str) -> str:
    """A user with features."""
    service.order(user, "COFFEE", days_ago=3)
    service.run("features", "audiences")
    return user


def test_the_answer_says_what_to_show(service: Running, shopper: str) -> None:
    answer = service.acting_decision(shopper)
    assert answer["playbook"] == "welcome"
    assert answer["variant"].startswith("welcome/")
    assert set(answer["offer"]) == {"id", "name", "attributes", "terms"}
    assert answer["offer"]["terms"] == {"validity": {"for": "P14D"}}
    assert 0 < answer["propensity"] <= 1
    assert answer["fallback"] is None
    assert answer["suppressed"] == {"priority": ["everyone"]}


def test_an_unknown_user_gets_the_fallback_and_the_reason(service: Running) -> None:
    answer = service.decide("nobody-we-know").json()
    assert answer["variant"] == "do_nothing"
    assert answer["fallback"] == "unknown_user"


def test_a_known_user_without_features_gets_the_fallback(service: Running, user: str) -> None:
    service.order(user, "COFFEE")
    assert service.decide(user).json()["fallback"] == "features_missing"


def test_ten_thousand_requests_under_one_key_are_one_decision(service: Running, shopper: str) -> None:
    ((answer, times),) = service.decide_at_once(shopper, f"key-{shopper}", 10_000).items()
    status, _, body = answer.partition(b"\n")
    assert (status, times) == (b"HTTP/1.1 200 OK", 10_000)
    (decision,) = [fact for fact in service.history(shopper) if fact["kind"] == "decision"]
    assert json.loads(body)["decision_id"] == decision["id"]


def test_a_key_is_not_for_another_request(service: Running, shopper: str) -> None:
    service.decide(shopper, key=f"reused-{shopper}")
    response = service.decide("somebody-else", key=f"reused-{shopper}")
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert "take a new key" in response.json()["detail"]


def test_a_cap_gives_way_to_the_catch_all(service: Running, shopper: str) -> None:
    # The welcome playbook allows four in two months; do-nothing answers use none of them.
    for _ in range(4):
        service.acting_decision(shopper)
    answer = service.acting_decision(shopper)
    assert answer["playbook"] == "everyone"
    assert answer["suppressed"] == {"cap.welcome.two_months": ["welcome"]}


def test_an_unknown_placement_is_named(service: Running, shopper: str) -> None:
    response = service.decide(shopper, "nowhere")
    assert response.status_code == 404
    assert "placements are outbound" in response.json()["detail"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b'{"user_id": "ann"}', "missing required field `placement`"),
        (b'{"user_id": 7, "placement": "outbound"}', "Expected `str`"),
        (b'{"user_id": "ann", "placement": "outbound", "colour": "red"}', "no field colour"),
        (b'{"user_id": "\xff", "placement": "outbound"}', "send {"),
        (b'{"user_id": "ann", "placement": "outbound", "context": {"a": NaN}}', "JSON has no NaN"),
        (b'{"user_id": "ann", "placement": "outbound", "context": {"a": 1e999}}', "out of range"),
        (b'{"user_id": "ann", "placement": "outbound", "context": {"a": [1]}}', "context.a: "),
        (b'{"user_id": "ann", "placement": "outbound", "context": 7}', "`$.context`"),
        (b'{"user_id": "ann", "placement": "outbound", "deadline_ms": -1}', "`$.deadline_ms`"),
        (b'{"user_id": "ann", "placement": "outbound", "deadline_ms": 1.5}', "`$.deadline_ms`"),
        (b'{"user_id": "ann", "placement": "outbound", "explain": "yes"}', "`$.explain`"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(service: Running, content: bytes, what: str) -> None:
    response = service.http.post("/v1/decide", content=content)
    assert response.status_code == 400
    problem: dict[str, Any] = response.json()
    assert problem["status"] == 400
    assert what in problem["detail"]


def test_a_context_of_a_megabyte_is_too_large(service: Running, shopper: str) -> None:
    context = {f"number_{place}": float(place) for place in range(60_000)}
    asked = {"user_id": shopper, "placement": "outbound", "context": context}
    response = service.http.post("/v1/decide", json=asked)
    assert len(response.request.content) > 1_000_000
    assert response.status_code == 413
    assert "more than the 65536 bytes" in response.json()["detail"]


def test_a_context_that_no_policy_reads_is_named(service: Running, shopper: str) -> None:
    asked = {"user_id": shopper, "placement": "outbound", "context": {"basket": 20}}
    response = service.http.post("/v1/decide", json=asked)
    assert response.status_code == 422
    assert "the policy reads no 'basket'" in response.json()["detail"]


def test_an_id_that_nobody_can_have_is_refused(service: Running) -> None:
    for user, what in {"a\x00": "has the character U+0000 in it", "a" * 256: "it has 256"}.items():
        response = service.decide(user)
        assert (response.status_code, what in response.json()["detail"]) == (422, True)


def test_a_deadline_of_nothing_is_answered_with_the_fallback(service: Running, shopper: str) -> None:
    asked: dict[str, Any] = {"user_id": shopper, "placement": "outbound", "deadline_ms": 0}
    answer = service.http.post("/v1/decide", json=asked).json()
    assert (answer["variant"], answer["fallback"]) == ("do_nothing", "deadline")
    assert service.http.post("/v1/decide", json=asked | {"deadline_ms": 60_000}).json()["fallback"] is None


def test_a_dry_run_is_in_no_log(service: Running, shopper: str) -> None:
    asked = {"user_id": shopper, "placement": "outbound", "dry_run": True}
    answer = service.http.post("/v1/decide", json=asked).json()
    assert answer["dry_run"] is True
    assert service.http.get(f"/v1/decisions/{answer['decision_id']}").status_code == 404


def test_a_wrong_event_is_refused_and_the_others_are_kept(service: Running, user: str) -> None:
    good = {"messageId": f"m-{user}", "userId": user, "event": "page_viewed"}
    response = service.http.post("/v1/batch", json={"batch": [{"event": "page_viewed"}, good, good]})
    assert response.status_code == 200
    answer = response.json()
    assert (answer["accepted"], answer["duplicates"]) == (1, 1)
    assert answer["refused"][0]["index"] == 0
    assert "`userId` is missing" in answer["refused"][0]["error"]


def test_a_body_of_megabytes_is_refused(service: Running) -> None:
    for path, size, most in (("/v1/batch", 5_000_000, 512_000), ("/v1/decide", 1_000_000, 65_536)):
        response = service.http.post(path, content=b"x" * size)
        assert response.status_code == 413
        assert f"more than the {most} bytes" in response.json()["detail"]


def test_a_batch_a_little_too_large_is_refused(service: Running) -> None:
    response = service.http.post("/v1/batch", content=b"x" * 512_001)
    assert response.status_code == 413
    assert "send less at a time" in response.json()["detail"]


def test_unknown_things_are_said_to_be_unknown(service: Running) -> None:
    for path in ("/v1/users/nobody", "/v1/decisions/none"):
        response = service.http.get(path)
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"
    assert "the jobs are" in service.http.post("/v1/jobs/nonsense").json()["detail"]


def test_the_clock_only_moves_forward(service: Running) -> None:
    response = service.http.put("/v1/clock", json={"now": "2020-01-01T00:00:00Z"})
    assert response.status_code == 409
    assert "only moves forward" in response.json()["detail"]
    assert service.http.put("/v1/clock", json={"now": "2020-01-01T00:00:00"}).status_code == 422
