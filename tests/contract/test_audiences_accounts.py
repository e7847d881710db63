"""Accounts: what messages of the type group say, by whatever profile and in whatever order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from audiences.accounts import api
from audiences.accounts.primary import PrimaryAccounts
from audiences.events import Event
from audiences.identity.service import IdentityService
from audiences.intake.intake import Intake
from decision import problems
from feature_repo.specs import load_specs
from feature_repo.store import FeatureRepository
from storage.clock import SimulatedClock
from storage.engine import Database
from tests.conftest import START

Group = Callable[..., None]


@pytest.fixture
def identity(database: Database) -> IdentityService:
    """Who is one person."""
    return IdentityService(database)


@pytest.fixture
def group(database: Database, identity: IdentityService) -> Group:
    """Sends a message of the type group."""
    intake = Intake(database, identities=identity)

    def send(
        account: str, user: str = "", anonymous: str | None = None, day: int = 0, **traits: object
    ) -> None:
        at = START + timedelta(days=day)
        event = Event(uuid4().hex, user, "group", traits, at, START, "group", anonymous, account_id=account)
        intake.take([event])

    return send


@pytest.fixture
def http(
    database: Database, clock: SimulatedClock, identity: IdentityService, tmp_path: Path
) -> Iterator[TestClient]:
    """The routes of accounts."""
    app = FastAPI()
    problems.install(app)
    app.include_router(
        api.router(database, clock, identity, FeatureRepository(tmp_path, load_specs()).account)
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_an_account_has_traits_and_the_persons_of_all_profiles(group: Group, http: TestClient) -> None:
    group("acme", anonymous="x", name="Acme", employees=40)
    group("acme", "ann", "x", day=2, employees=50)
    group("acme", "bob", day=1, plan="gold", employees=45, name="ACME Ltd")
    shown = http.get("/v1/accounts/acme").json()
    assert shown["traits"] == {"name": "Acme", "employees": 50, "plan": "gold"}
    assert shown["users"] == ["ann", "bob"]
    # Nothing was computed yet.
    assert shown["features"]["orders_12w"] is shown["features_as_of"] is None
    assert (shown["first_seen"], shown["next"]) == ("2026-03-02T09:00:00Z", None)


def test_the_primary_account_is_the_latest_or_the_chosen_one(group: Group, http: TestClient) -> None:
    group("acme", "ann", day=1)
    group("bolt", "ann", day=2)
    group("core", "ann", day=0)
    assert http.get("/v1/users/ann/accounts").json()["primary"] == "bolt"
    chosen = http.put("/v1/users/ann/accounts/primary", json={"account_id": "core"})
    assert chosen.json()["primary"] == "core"
    group("bolt", "ann", day=3)
    shown = http.get("/v1/users/ann/accounts").json()
    assert [one["account_id"] for one in shown["accounts"]] == ["core", "bolt", "acme"]


def test_who_selects_is_told_the_primary_account_of_each_person(
    database: Database, clock: SimulatedClock, group: Group, http: TestClient, identity: IdentityService
) -> None:
    accounts = PrimaryAccounts(database, identity.people)
    assert (accounts.everyone(), accounts.of(["ann"]), accounts.colleagues(["ann"])) == ({}, {}, set())
    group("acme", anonymous="x", day=4)
    group("bolt", "ann", "x", day=3)
    group("bolt", "bob", day=1)
    group("acme", "eve", day=1)
    identity.refresh()
    # A profile that has not logged in yet is of the person who did: acme was named last.
    primary = {"ann": "acme", "bob": "bolt", "eve": "acme"}
    assert accounts.everyone() == primary
    assert accounts.of(["ann", "bob", "zoe"]) == {"ann": "acme", "bob": "bolt"}
    many = [*primary, *(f"user-{index}" for index in range(6_000))]
    assert accounts.of(many) == primary
    assert accounts.colleagues(["eve", "zoe"]) == {"ann", "eve"}
    assert accounts.moved_since(START) == set()
    clock.move_to(clock.now() + timedelta(hours=1))
    http.put("/v1/users/ann/accounts/primary", json={"account_id": "bolt"})
    assert accounts.moved_since(clock.now()) == {"ann"}
    assert accounts.moved_since(clock.now() + timedelta(seconds=1)) == set()
    assert accounts.colleagues(["bob"]) == {"ann", "bob"}


def test_users_of_an_account_are_paged(group: Group, http: TestClient) -> None:
    for index in range(5):
        group("acme", f"user-{index}")
    first = http.get("/v1/accounts/acme", params={"limit": 3}).json()
    rest = http.get("/v1/accounts/acme", params={"limit": 3, "cursor": first["next"]}).json()
    assert first["users"] + rest["users"] == [f"user-{index}" for index in range(5)]
    assert rest["next"] is None


def test_what_is_not_there_is_said(group: Group, http: TestClient) -> None:
    group("acme", "ann")
    for response, said in (
        (http.get("/v1/accounts/nothing"), "'nothing'"),
        (http.get("/v1/users/nobody/accounts"), "'nobody'"),
        (http.put("/v1/users/ann/accounts/primary", json={"account_id": "bolt"}), "does not belong"),
    ):
        assert response.status_code == 404
        assert said in response.json()["detail"]
    assert http.put("/v1/users/ann/accounts/primary", json={"account": "acme"}).status_code == 422
