"""Story 3: points, half-lives, grades, the hand-over to sales, and the answer beside the score."""

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

SCORES = """
scores:
  - id: lead
    name: Lead score
    half_life: P30D
    points:
      - {id: opened, event: email_opened, points: 10}
      - {id: pricing, event: page_viewed, where: "event.path = '/pricing'", points: 20,
         properties: {path: text}}
      - {id: white_paper, event: form_submitted, where: "event.form = 'white_paper'", points: 40,
         properties: {form: text}}
      - {id: unsubscribed, event: unsubscribed, points: -30}
    grades:
      - {grade: MQL, at: 60}
      - {grade: SQL, at: 100, at_once: [{event: trial_requested}]}
    hand_over: SQL
"""


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data: Path = tmp_path_factory.mktemp("sales")
    shutil.copytree(LIBRARY, data / "library")
    (data / "library" / "scores.yaml").write_text(SCORES)
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)


def track(sales: Running, user: str, event: str, **properties: str) -> None:
    message = {"userId": user, "event": event, "properties": properties, "messageId": str(uuid4())}
    assert sales.http.post("/v1/track", json=message).status_code == 200


def score(sales: Running, user: str) -> dict[str, object]:
    sales.run("scores")
    answer: dict[str, object] = sales.http.get(f"/v1/users/{user}/scores/lead").json()
    return answer


def test_a_lead_is_scored_graded_handed_over_and_answered(sales: Running, user: str) -> None:
    track(sales, user, "email_opened")
    track(sales, user, "page_viewed", path="/pricing")
    assert (score(sales, user)["value"], score(sales, user)["grade"]) == (30, None)
    track(sales, user, "form_submitted", form="white_paper")
    assert (score(sales, user)["value"], score(sales, user)["grade"]) == (70, "MQL")
    # Half of it after thirty days: below the threshold before the hand-over, so degraded.
    sales.move(timedelta(days=30))
    assert (score(sales, user)["value"], score(sales, user)["grade"]) == (35, None)
    track(sales, user, "unsubscribed")
    assert score(sales, user)["value"] == 5
    # Asking for a trial is an SQL at once; from now on only sales changes it.
    track(sales, user, "trial_requested")
    assert score(sales, user)["grade"] == "SQL"
    sales.move(timedelta(days=90))
    standing = score(sales, user)
    assert (standing["grade"], standing["status"]) == ("SQL", "handed_over")
    given = {(point["line"], point["given"]) for point in standing["points"]}  # type: ignore[attr-defined]
    assert given == {("opened", 10), ("pricing", 20), ("white_paper", 40), ("unsubscribed", -30)}
    url = f"/v1/users/{user}/scores/lead/answer"
    refused = sales.http.post(url, json={"accepted": True})
    assert refused.status_code == 422
    said = sales.http.post(url, json={"accepted": True, "by": "sam"})
    assert (said.status_code, said.json()["status"], said.json()["grade"]) == (200, "accepted", "SQL")
    again = sales.http.post(url, json={"accepted": False, "by": "sam"})
    assert again.status_code == 409
    assert "nothing to answer" in again.json()["detail"]
    report = sales.http.get("/v1/scores/lead/predictors").json()
    assert (report["answers"], report["accepted"]) == (1, 1)
    labels = [fact["label"] for fact in sales.history(user) if fact["kind"] == "score"]
    assert labels[::-1] == ["lead.MQL", "lead.none", "lead.SQL", "lead.accepted"]


def test_a_score_that_is_not_there_is_said(sales: Running, user: str) -> None:
    track(sales, user, "logged_in")
    unknown = sales.http.get(f"/v1/users/{user}/scores/leads")
    assert (unknown.status_code, unknown.json()["detail"]) == (
        404,
        "there is no score 'leads'; there are lead",
    )
    without = sales.http.get(f"/v1/users/{user}/scores/lead")
    assert (without.status_code, "nothing was ever counted" in without.json()["detail"]) == (404, True)
