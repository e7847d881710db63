"""Story 6: an operator uploads users with their expected audience and sees how right it is, and why not."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from decision.cli import app
from tests.acceptance.driver import Running


def test_labelled_users_judge_an_audience(service: Running, tmp_path: Path) -> None:
    tail = uuid4().hex[:8]
    users = {f"user-{orders}-{place}-{tail}": orders for orders in (1, 2, 3) for place in range(10)}
    for user, orders in users.items():
        for _ in range(orders):
            service.order(user, "COFFEE", days_ago=1)
    name = f"often_{tail}"
    made = service.http.post("/v1/audiences", json={"id": name, "name": "Often", "rule": "orders_4w >= 3"})
    assert made.status_code == 201, made.text
    service.run("features", "audiences")
    # The operator meant everybody with two orders or more.
    labels = "user_id,expected\n" + "".join(f"{user},{orders >= 2}\n" for user, orders in users.items())
    answer = service.http.post(
        f"/v1/audiences/{name}/test", content=labels, headers={"Content-Type": "text/csv"}
    )
    assert answer.status_code == 200, answer.text
    report = answer.json()
    assert report["accuracy"] == pytest.approx(2 / 3, abs=1e-6)
    assert (report["precision"], report["recall"]) == (1.0, 0.5)
    assert report["f1"] == pytest.approx(2 / 3, abs=1e-6)
    assert len(report["wrong"]) == 10
    assert all(one["because"] == "orders_4w >= 3 is false: orders_4w is 2" for one in report["wrong"])
    assert {one["feature"] for one in report["drift"]["features"]} == {"orders_4w"}

    file = tmp_path / "labels.csv"
    file.write_text(labels)
    url = str(service.http.base_url)
    key = service.http.headers["Authorization"].removeprefix("Bearer ")
    ran = CliRunner().invoke(app, ["audiences", "test", name, str(file), "--url", url, "--key", key])
    assert ran.exit_code == 0, ran.output
    assert "accuracy   0.667" in ran.output
    assert "is not in: orders_4w >= 3 is false: orders_4w is 2" in ran.output


def test_a_user_is_explained_and_a_draft_counted_from_the_evaluation(service: Running, user: str) -> None:
    service.order(user, "COFFEE", days_ago=1)
    name = f"often_{uuid4().hex[:8]}"
    http = service.http
    assert (
        http.post("/v1/audiences", json={"id": name, "name": "O", "rule": "orders_4w > 1"}).status_code == 201
    )
    service.run("features", "audiences")
    evaluated = service.now
    said = http.get(f"/v1/audiences/{name}/members/{user}").json()
    assert (said["member"], said["holds"]) == (False, False)
    assert said["because"] == "orders_4w > 1 is false: orders_4w is 1"
    assert said["parts"]["decided"] is True
    both = http.post("/v1/audiences", json={"id": f"{name}_2", "name": "B", "sets": {"union": [name]}}).json()
    assert (
        http.get(f"/v1/audiences/{both['id']}/members/{user}").json()["because"]
        == f"the user is not in {name}"
    )
    unknown = http.get(f"/v1/audiences/{name}/members/nobody")
    assert (unknown.status_code, unknown.json()["title"]) == (404, "unknown user")
    # The process of the jobs has everybody in memory, as it read them.
    service.move(timedelta(minutes=1))
    counted = http.post("/v1/audiences/count", json={"rule": "orders_4w > 0 OR tag('nobody_asks')"}).json()
    assert datetime.fromisoformat(counted["as_of"]) == evaluated
    assert counted["sampled"] is None
    assert counted["interval"] == [counted["count"], counted["count"]]
    assert 0 < counted["count"] <= counted["users"]
    wrong = http.post("/v1/audiences/count", json={"rule": "order_4w > 0"})
    assert (wrong.status_code, wrong.json()["title"]) == (422, "rule")


def test_labels_that_make_no_sense_are_refused_by_their_lines(service: Running, user: str) -> None:
    service.order(user, "COFFEE", days_ago=1)
    service.run("features", "audiences")
    name = service.http.get("/v1/audiences").json()[0]["id"]
    for body, said in {
        f"{user},perhaps": "line 1",
        f"{user},true\n{user},false": "both true and false",
        user: "cells, not 2",
        "": "no labels",
        "nobody-at-all,true": "none of the 1 users is known",
    }.items():
        answer = service.http.post(f"/v1/audiences/{name}/test", content=body)
        assert answer.status_code == 422
        assert said in answer.json()["detail"]
    assert service.http.post("/v1/audiences/no_such/test", content=f"{user},true").status_code == 404
