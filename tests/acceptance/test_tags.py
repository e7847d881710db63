"""Tags by an operator: put on, seen by rules, taken off."""

from __future__ import annotations

from datetime import timedelta

from tests.acceptance.driver import Running


def test_an_operator_puts_a_tag_on_and_takes_it_off(service: Running, user: str) -> None:
    service.order(user, "COFFEE", days_ago=3)
    url = f"/v1/users/{user}/tags"
    assert service.http.put(f"{url}/vip", json={"by": "sam", "expires_after": "P7D"}).status_code == 200
    assert service.http.put(f"{url}/considering", json={"by": "sam"}).status_code == 200
    carried = {one["tag"]: one for one in service.http.get(url).json()}
    assert set(carried) == {"vip", "considering"}
    assert carried["vip"]["source"] == "operator:sam"
    assert carried["vip"]["expires_at"] is not None
    taken = service.http.delete(f"{url}/considering?by=sam")
    assert [one["tag"] for one in taken.json()] == ["vip"]
    again = service.http.delete(f"{url}/considering?by=sam")
    assert (again.status_code, "does not carry" in again.json()["detail"]) == (404, True)
    service.move(timedelta(days=8))
    assert service.http.get(url).json() == []
    facts = [fact["body"] for fact in service.history(user) if fact["kind"] == "tag"]
    assert [bool(one.get("taken_off")) for one in facts].count(True) == 1


def test_a_wrong_tag_is_refused(service: Running, user: str) -> None:
    service.order(user, "COFFEE", days_ago=3)
    url = f"/v1/users/{user}/tags"
    assert service.http.put(f"{url}/V I P", json={"by": "sam"}).status_code == 422
    assert service.http.put(f"{url}/vip", json={}).status_code == 422
    assert service.http.put(f"{url}/vip", json={"by": "sam", "expires_after": "PT0S"}).status_code == 422
    assert service.http.delete(f"{url}/vip").status_code == 422
    assert service.http.get("/v1/users/nobody-we-know/tags").status_code == 404
