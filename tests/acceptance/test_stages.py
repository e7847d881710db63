"""A user's stage, asked for and set by hand over HTTP."""

from __future__ import annotations

from tests.acceptance.driver import Running


def test_a_stage_is_shown_and_set_by_hand(service: Running, user: str) -> None:
    service.order(user, "COFFEE", days_ago=3)
    service.run("features", "audiences")
    stages = service.http.get(f"/v1/users/{user}/stages").json()
    assert stages["customer"]["stage"] == "customer"
    url = f"/v1/users/{user}/stages/customer"
    put = service.http.put(url, json={"stage": "lapsing", "by": "sam", "reason": "said so"})
    assert put.json()["customer"]["stage"] == "lapsing"
    wrong = service.http.put(url, json={"stage": "gone", "by": "sam"})
    assert (wrong.status_code, "there are awareness" in wrong.json()["detail"]) == (422, True)
    assert service.http.put(url, json={"stage": "lost"}).status_code == 422
    page = service.http.get("/v1/lifecycles/customer").json()
    assert page["standing"]["lapsing"]["users"] >= 1
    assert service.http.get("/v1/lifecycles/client").status_code == 404
    assert service.http.get("/v1/users/nobody-we-know/stages").status_code == 404
    labels = [fact["label"] for fact in service.history(user) if fact["kind"] == "stage"]
    assert set(labels) == {"customer.awareness", "customer.customer", "customer.lapsing"}
