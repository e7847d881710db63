"""Routes under /v1/users/{id}: whoever goes by several ids is one person under each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from audiences import tags_api
from audiences.accounts import api as accounts_api
from audiences.events import Event
from audiences.identity import api as identity_api
from audiences.identity.people import PersonsProfiles
from audiences.identity.service import IdentityService
from audiences.intake.intake import Intake
from audiences.rules import Schema, Type
from audiences.scores import api as scores_api
from audiences.scores.definitions import read_scores
from audiences.scores.service import Scores
from audiences.stages import api as stages_api
from audiences.stages.definitions import read_lifecycles
from audiences.stages.service import Stages
from audiences.traits import api as traits_api
from audiences.traits.service import Traits
from decision import problems
from feature_repo.specs import load_specs
from storage.clock import SimulatedClock
from storage.engine import Database

STAGES = """
lifecycles:
  - id: buyer
    name: Buyers
    start: new
    stages:
      - {id: new, to: [{stage: active, when: orders >= 1}]}
      - {id: active, end: true}
"""
SCORES = """
scores:
  - {id: lead, name: Lead, points: [{id: opened, event: email_opened, points: 10}],
     grades: [{grade: MQL, at: 10}], hand_over: MQL}
"""


@dataclass
class Desk:
    """The routes of users over one database, and what happens in it."""

    http: httpx2.Client
    identity: IdentityService
    intake: Intake
    scores: Scores
    stages: Stages
    clock: SimulatedClock

    def happens(self, user: str, name: str, type_: Any = "track", **properties: Any) -> None:
        now = self.clock.now()
        account = properties.pop("account_id", None)
        event = Event(uuid4().hex, user, name, properties, now, now, type_, None, account_id=account)
        self.intake.take([event])

    def get(self, path: str) -> Any:
        response = self.http.get(path)
        assert response.status_code == 200, response.text
        return response.json()


@pytest.fixture
def desk(database: Database, clock: SimulatedClock, tmp_path: Path) -> Iterator[Desk]:
    schema, events = Schema({"orders": Type.NUMBER}), load_specs().events
    (tmp_path / "stages.yaml").write_text(STAGES)
    (tmp_path / "scores.yaml").write_text(SCORES)
    identity = IdentityService(database)
    people, lookup = identity.people, identity.lookup
    traits = Traits(database, profiles=PersonsProfiles())
    stages = Stages(database, read_lifecycles(tmp_path / "stages.yaml", schema), people)
    scores = Scores(database, clock, read_scores(tmp_path / "scores.yaml", schema, events), people)
    app = FastAPI()
    problems.install(app)
    app.include_router(stages_api.router(database, clock, stages, lookup))
    app.include_router(scores_api.router(database, scores, lookup))
    app.include_router(traits_api.router(traits, lookup))
    app.include_router(tags_api.router(database, clock, people, lookup))
    app.include_router(accounts_api.router(database, clock, identity, lambda *_: ({}, None)))
    app.include_router(identity_api.router(database, clock, identity, lambda _: "sam"))
    with TestClient(app, raise_server_exceptions=False) as http:
        yield Desk(
            http, identity, Intake(database, identities=identity, traits=traits), scores, stages, clock
        )


def test_a_person_is_the_same_under_every_id(desk: Desk) -> None:
    for user in ("ann", "till-7"):
        desk.happens(user, "email_opened")
        desk.happens(user, "identify", "identify", city="Bonn")
        desk.happens(user, "group", "group", account_id="acme")
    for user in ("ann", "till-7"):
        desk.http.put(f"/v1/users/{user}/stages/buyer", json={"stage": "active", "by": "sam"})
    assert desk.stages.describe("buyer", desk.clock.now())["users"] == 2
    desk.identity.merge("till-7", "ann", by="sam", why="one card", now=desk.clock.now())
    desk.scores.run()
    tagged = desk.http.put("/v1/users/till-7/tags/vip", json={"by": "sam"})
    assert tagged.status_code == 200
    for path in ("stages", "scores/lead", "tags", "traits", "accounts", "identities"):
        assert desk.get(f"/v1/users/till-7/{path}") == desk.get(f"/v1/users/ann/{path}"), path
    assert desk.get("/v1/users/till-7/scores/lead")["user_id"] == "ann"
    assert desk.get("/v1/users/till-7/scores/lead")["value"] == 20
    assert desk.get("/v1/users/till-7/traits")["user_id"] == "ann"
    assert desk.get("/v1/users/till-7/accounts")["user_id"] == "ann"
    put = desk.http.put("/v1/users/till-7/stages/buyer", json={"stage": "new", "by": "sam"})
    assert put.json()["buyer"]["stage"] == "new"
    assert desk.get("/v1/users/ann/stages")["buyer"]["stage"] == "new"
    answered = desk.http.post("/v1/users/till-7/scores/lead/answer", json={"accepted": True, "by": "sam"})
    assert (answered.status_code, answered.json()["user_id"]) == (200, "ann")
    # Two profiles, one person: counted once.
    assert desk.stages.standing_in("buyer") == {"ann": "new"}
    assert desk.stages.describe("buyer", desk.clock.now())["users"] == 1


@pytest.mark.parametrize("path", ["stages", "scores/lead", "tags", "traits", "accounts", "identities"])
@pytest.mark.parametrize(("user", "status"), [("nobody", 404), ("a%00b", 422), ("x" * 401, 422)])
def test_who_is_nobody_is_said(desk: Desk, path: str, user: str, status: int) -> None:
    answer = desk.http.get(f"/v1/users/{user}/{path}")
    assert answer.status_code == status, answer.text
    assert ("check the id" in answer.json()["detail"]) == (status == 404)
