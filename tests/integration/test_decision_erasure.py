"""An erased user is nowhere any more: no table, no file and no server holds anything of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import Connection, delete, insert, make_url, select, update
from starlette.testclient import TestClient
from typer.testing import CliRunner

from audiences.accounts.tables import account_members
from audiences.consent.tables import consents
from audiences.crm.tables import crm_objects
from audiences.identity.tables import identities
from audiences.machines.tables import held_clicks
from audiences.scores.tables import grants, holding, standings
from audiences.service import set_tag
from audiences.stages.tables import standings as stages
from audiences.tables import users
from audiences.traits.tables import traits
from audiences.triggers.tables import firings, waits
from decision.app import create_app
from decision.auth.models import mint
from decision.cli import app as command_line
from decision.demo.run import LIBRARY
from decision.settings import Settings
from decision.wiring import Service
from delivery.coupons.tables import coupon_calls, coupon_uses
from delivery.inbox import repository as inbox_repository
from delivery.inbox.repository import Notice
from delivery.people.tables import tasks
from delivery.tables import enrolments, outbox, parked
from learning.tables import reward_windows, shadow_rounds
from playbooks.controls.tables import controls
from playbooks.tables import answers, uses
from storage import ledger, projection
from storage.engine import Database
from storage.erasure import Rows
from storage.errors import NextplayError
from storage.ledger import Kind
from storage.schema import cursors, erasures, facts, metadata
from tests.conftest import new_postgres
from tests.launching import running_service

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LATER = START + timedelta(days=15)
# Nothing else that is kept has these letters in this order.
ANN, BOB = "Zzqannzz", "Zzqbobzz"
KEY = str(mint())


class Shop:
    """A service with two users who have everything that a user can have."""

    def __init__(self, data: Path, database_url: str, counters_url: str, clock: datetime = START) -> None:
        if not (data / "library").exists():
            shutil.copytree(LIBRARY, data / "library")
        self.data = data
        self.counters_url = counters_url
        if database_url:
            Database(database_url).close()
        self.service = Service(
            Settings(
                data=data,
                database_url=database_url,
                counters_url=counters_url,
                clock=clock,
                schedule=False,
                admin_key=SecretStr(KEY),
            )
        )
        self.http = TestClient(create_app(self.service), headers={"Authorization": f"Bearer {KEY}"})

    def close(self) -> None:
        self.http.close()
        self.service.close()

    def job(self, *names: str) -> None:
        for name in names:
            self.http.post(f"/v1/jobs/{name}").raise_for_status()

    def order(self, user: str, number: int, *, days: int = 0) -> None:
        lines = [{"category": "CHICKEN", "quantity": 1, "value": 2.5, "discount": 0.5}]
        event = {
            "userId": user,
            "messageId": f"{user}:order:{number}",
            "event": "order_completed",
            "timestamp": (START + timedelta(days=days)).isoformat(),
            "properties": {"value": 2.5, "categories": ["CHICKEN"], "lines": lines, "note": f"from {user}"},
        }
        answer = self.http.post("/v1/track", json=event).raise_for_status().json()
        assert answer["accepted"] == 1, answer

    def decide(self, user: str, number: int) -> dict[str, Any]:
        answer = self.http.post(
            "/v1/decide",
            json={"user_id": user, "placement": "outbound"},
            headers={"Idempotency-Key": f"{user}:{number}"},
        )
        result: dict[str, Any] = answer.raise_for_status().json()
        return result

    def fill(self) -> None:
        """Let both users buy, be selected, get offers, be rewarded and be waited for."""
        for number in range(3):
            for user in (ANN, BOB):
                self.order(user, number, days=-number)
        self.job("features", "audiences")
        for number in range(2):
            for user in (ANN, BOB):
                self.decide(user, number)
        self.job("deliver", "push")
        self.http.put("/v1/clock", json={"now": LATER.isoformat()}).raise_for_status()
        self.job("reward", "learn", "deliver")
        for user in (ANN, BOB):
            self.order(user, 9, days=15)
        self.job("features", "audiences")
        for user in (ANN, BOB):
            self.decide(user, 7)
        self.job("deliver")
        self.service.database.write(self._the_rest)

    def _the_rest(self, connection: Connection) -> None:
        """Put rows where a user of the demo's library has none."""
        now = self.service.clock.now()
        for user in (ANN, BOB):
            set_tag(connection, user, "vip", "test", now, None)
            row = {"user_id": user, "score": "s", "line": "l"}
            connection.execute(
                insert(grants), {**row, "event_id": f"{user}:order:1", "occurred_at": now, "points": 1.0}
            )
            connection.execute(insert(holding), {**row, "since": now})
            standing = {"rank": 1, "since": now, "status": "none", "held_rank": 0}
            connection.execute(insert(standings), {"user_id": user, "score": "s", **standing})
            identity = {"kind": "email", "value": f"{user}@example.org", "profile": user, "verified": True}
            connection.execute(insert(identities), {**identity, "first_seen_at": now, "source": "test"})
            member = {"account_id": "acme", "user_id": user, "since": now, "named_at": now}
            connection.execute(insert(account_members), member)
            trait = {"name": "city", "source": "test", "value": f'"of {user}"', "at": now}
            connection.execute(insert(traits), {"user_id": user, **trait})
            told = {"source": "acme", "type": "deal", "object_id": f"deal of {user}", "updated_at": now}
            connection.execute(
                insert(crm_objects), {"user_id": user, **told, "digest": "d", "fields": f'{{"to": "{user}"}}'}
            )
            click = {
                "event_id": f"{user}:click:1",
                "message_id": f"m {user}",
                "link": "a",
                "state": "waiting",
            }
            connection.execute(insert(held_clicks), {"user_id": user, "due_at": now, **click})
            trigger = {"trigger": "t", "user_id": user}
            connection.execute(insert(firings), {**trigger, "fired_at": now})
            silence = {"cause": f"{user}:order:1", "caused_at": now, "due_at": now + timedelta(days=90)}
            connection.execute(insert(waits), {**trigger, **silence})
            stage = {"lifecycle": "l", "stage": "lead", "since": now}
            connection.execute(insert(stages), {"user_id": user, **stage})
            word = {"purpose": "offers", "channel": "email", "state": "granted", "at": now, "source": "test"}
            connection.execute(insert(consents), {"user_id": user, **word})
            use = {"user_id": user, "rule": "r", "decision_id": f"{user}:d", "used_at": now}
            connection.execute(insert(uses), use)
            stop = {"scope": "user", "target": user, "mode": "off", "changed_by": "ops", "why": ""}
            connection.execute(insert(controls), {**stop, "changed_at": now})
            waits_too = {"kind": "message", "id": f"{user}:1", "control": f"user:{user}", "position": 0}
            connection.execute(insert(parked), {**waits_too, "ready_at": now})
            task = {"id": f"{user}:t", "user_id": user, "enrolment_id": f"{user}:d", "revision": 1}
            task |= {"playbook": "p", "state": "call", "title": "Call", "assignee": "", "results": "[]"}
            connection.execute(insert(tasks), {**task, "due_at": now, "opened_at": now})
            redeemed: dict[str, Any] = {
                "id": f"{user}:use",
                "coupon_id": f"{user}:c",
                "order_id": f"{user}:o",
            }
            redeemed |= {"standing": "redeemed", "basket": "b", "total": 1, "discount": 1, "currency": "EUR"}
            connection.execute(insert(coupon_uses), {**redeemed, "user_id": user, "at": now, "revision": 1})
            called = {"key": f"{user}:k", "user_id": user, "fingerprint": "f", "answer": f'"{user}"'}
            connection.execute(insert(coupon_calls), {**called, "called_at": now})
            drawn = {"policy": "shadow", "decision_id": f"{user}:d", "user_id": user, "decided_at": now}
            told_by = {"drawer": "drawer", "version": "v1", "vector": b""}
            connection.execute(insert(shadow_rounds), {**drawn, **told_by})
            inboxed = Notice(f"{user}:1", user, "app", "s", "b", now, now + timedelta(days=30))
            inbox_repository.put(connection, inboxed)

    def where(self, user: str) -> set[str]:
        """Return the places in which anything of a user is found: tables, files, keys."""
        found = set()
        with self.service.database.read() as connection:
            for table in metadata.sorted_tables:
                if any(user in str(tuple(row)) for row in connection.execute(select(table))):
                    found.add(table.name)
        for path in self.data.rglob("*"):
            if path.is_file() and path.name != "service.log":
                # The log of a database is a part of it.
                relative = str(path.relative_to(self.data)).removesuffix("-wal")
                content = (
                    str(pq.ParquetFile(path).read().to_pydict())
                    if path.suffix == ".parquet"
                    else path.read_bytes().decode("latin-1")
                )
                if user in relative or user in content:
                    found.add(relative.partition("/")[0] if path.suffix != ".parquet" else path.parts[-3])
        if self.counters_url:
            with Redis.from_url(self.counters_url) as client:
                if any(user.encode() in key for key in client.scan_iter()):
                    found.add("valkey")
        return found


@dataclass(frozen=True)
class Filled:
    """What a filled shop left when it closed, to go on from: its folder, its database and its counters."""

    data: Path
    template: str
    counters: dict[bytes, bytes]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str, str], Filled]]:
    """Fill one shop of each kind: a test of erasure begins where it ended."""
    made: dict[str, Filled] = {}
    with ExitStack() as kept:

        def fill(kind: str, server: str, counters_url: str) -> Filled:
            if kind not in made:
                url = kept.enter_context(new_postgres(server)) if server else ""
                data = tmp_path_factory.mktemp(f"filled_{kind}") / "data"
                shop = Shop(data, url, counters_url)
                shop.fill()
                shop.close()
                counters: dict[bytes, bytes] = {}
                if counters_url:
                    with Redis.from_url(counters_url) as client:
                        counters = {key: client.dump(key) for key in client.scan_iter()}
                made[kind] = Filled(data, str(make_url(url).database) if url else "", counters)
            return made[kind]

        yield fill


@pytest.fixture(params=["sqlite", "postgres", "valkey"])
def shop(
    request: pytest.FixtureRequest, tmp_path: Path, filled: Callable[[str, str, str], Filled]
) -> Iterator[Shop]:
    server = request.getfixturevalue("postgres_server") if request.param == "postgres" else ""
    counters_url = request.getfixturevalue("valkey_url") if request.param == "valkey" else ""
    left = filled(request.param, server, counters_url)
    data = tmp_path / "data"
    shutil.copytree(left.data, data)
    with ExitStack() as opened:
        url = opened.enter_context(new_postgres(server, left.template)) if server else ""
        if counters_url:
            with Redis.from_url(counters_url) as client:
                client.flushall()
                for key, value in left.counters.items():
                    client.restore(key, 0, value)
        shop = Shop(data, url, counters_url, LATER)
        opened.callback(shop.close)
        yield shop


def test_nothing_of_an_erased_user_is_left_anywhere(shop: Shop) -> None:
    service = shop.service
    everywhere = shop.where(ANN)
    tables = {
        "users", "audience_numbers", "tags", "consents", "score_grants", "score_holding", "score_standings",
        "stage_standings", "identities", "uses", "answers", "facts", "reward_windows", "coupons",
        "enrolments", "trigger_firings", "trigger_waits", "traits", "crm_objects", "account_members",
        "inbox", "shadow_rounds",
    }  # fmt: skip
    assert tables <= everywhere
    assert {"features", "mailbox", "history", "snapshots"} <= everywhere
    with service.database.read() as connection:
        before = ledger.counts(connection)
        decision = connection.execute(
            select(facts.c.id).where(facts.c.kind == Kind.DECISION, facts.c.user_id == ANN)
        ).scalars().first()  # fmt: skip
    bobs = shop.where(BOB), len(list((shop.data / "mailbox").rglob("*.eml")))
    erased = shop.http.delete(f"/v1/users/{ANN}")
    assert erased.status_code == 200, erased.text
    counts = erased.json()["erased"]
    # No policy competes here, and every receipt was of use: tests/contract/test_learning_challengers.py and
    # test_delivery_receipts.py erase the others.
    empty = {"counters", "shadow_rounds", "stray_receipts"}
    assert all(counts[place.name] > 0 for place in service.erasure.places if place.name not in empty), counts
    assert (counts["counters"] > 0) is bool(shop.counters_url)
    assert shop.where(ANN) == set()
    assert shop.where(BOB) == bobs[0]
    assert len(list((shop.data / "mailbox").rglob("*.eml"))) < bobs[1]
    with service.database.read() as connection:
        after = ledger.counts(connection)
        assert after.pop(Kind.CHANGE)["user_erased"] == 1
        before.pop(Kind.CHANGE)
        assert after == before
        assert connection.execute(select(erasures)).all() == []
    projection.catch_up(service.database)
    with service.database.read() as connection:
        assert projection.recount(connection) == []
    shown = shop.http.get(f"/v1/decisions/{decision}")
    assert (shown.status_code, shown.json()["type"]) == (410, "urn:nextplay:problem:decision-erased")
    assert shop.http.post(f"/v1/decisions/{decision}/replay").status_code == 410


def test_an_erased_user_is_an_unknown_one_and_does_not_come_back(shop: Shop) -> None:
    service = shop.service
    shop.http.delete(f"/v1/users/{ANN}").raise_for_status()
    again = shop.http.delete(f"/v1/users/{ANN}")
    assert (again.status_code, again.json()["type"]) == (404, "urn:nextplay:problem:user-unknown")
    assert shop.http.get(f"/v1/users/{ANN}").status_code == 404
    # What is computed anew, and what is computed from nothing, knows nothing of them.
    shop.job("push", "features", "audiences", "deliver", "reward", "learn")
    assert shop.where(ANN) == set()
    service.database.write(
        lambda connection: connection.execute(delete(cursors).where(cursors.c.reader.like("feature%")))
    )
    for name in ("history", "snapshots"):
        shutil.rmtree(shop.data / "features" / name)
    shop.job("features", "push", "audiences")
    history = [pq.ParquetFile(one).read() for one in (shop.data / "features" / "history").rglob("*.parquet")]
    known = {user for table in history for user in table["user_id"].to_pylist()}
    assert known == {BOB}
    with service.database.read() as connection:
        assert set(connection.execute(select(users.c.user_id)).scalars()) == {BOB}
    answer = shop.decide(ANN, 0)
    assert (answer["fallback"], answer["offer"]) == ("unknown_user", None)
    assert shop.decide(BOB, 8)["fallback"] is None


def test_an_erasure_waits_for_a_message_that_is_being_handed_over(shop: Shop) -> None:
    service = shop.service
    now = service.clock.now()
    mine = outbox.c.enrolment_id.in_(select(enrolments.c.id).where(enrolments.c.user_id == ANN))
    leased = update(outbox).where(mine).values(holder="another", available_at=now + timedelta(minutes=5))
    service.database.write(lambda connection: connection.execute(leased))
    answer = shop.http.delete(f"/v1/users/{ANN}")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "are being handed over" in answer.json()["detail"]
    with service.database.read() as connection:
        pseudonym = connection.execute(select(erasures.c.pseudonym)).scalar_one()
    shop.http.put("/v1/clock", json={"now": (now + timedelta(minutes=6)).isoformat()}).raise_for_status()
    done = shop.http.delete(f"/v1/users/{ANN}").raise_for_status().json()
    assert done["pseudonym"] == pseudonym
    assert done["erased"]["facts"] > 0
    assert shop.where(ANN) == set()


def test_several_ids_of_one_person_become_one_pseudonym(shop: Shop) -> None:
    erased = shop.service.erasure.erase([ANN, BOB, ANN])
    with shop.service.database.read() as connection:
        named = select(facts.c.user_id).where(facts.c.user_id.is_not(None)).distinct()
        assert list(connection.execute(named).scalars()) == [erased.pseudonym]
        windows = connection.execute(select(reward_windows.c.user_id, reward_windows.c.matured)).all()
        assert set(windows) == {(erased.pseudonym, True)}
        assert connection.execute(select(answers)).all() == []
    assert shop.where(ANN) | shop.where(BOB) == set()


def test_profiles_that_were_joined_go_together(shop: Shop) -> None:
    shop.service.identity.merge(ANN, BOB, by="test", why="one person", now=shop.service.clock.now())
    assert {"identity_joins", "joined_profiles"} <= shop.where(ANN)
    erased = shop.http.delete(f"/v1/users/{ANN}").raise_for_status().json()
    assert erased["erased"]["users"] == 2
    assert shop.where(ANN) | shop.where(BOB) == set()
    assert shop.http.delete(f"/v1/users/{BOB}").status_code == 404


def test_an_interrupted_erasure_goes_on(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    erasure = shop.service.erasure
    places = erasure.places

    def dies(*_: object) -> int:
        raise InterruptedError

    for number in range(len(places)):
        broken = [place._replace(erase=dies) if place is places[number] else place for place in places]
        monkeypatch.setattr(erasure, "places", broken)
        with pytest.raises(InterruptedError):
            erasure.erase([ANN])
    monkeypatch.setattr(erasure, "places", places)
    erased = erasure.erase([ANN])
    assert all(
        number for name, number in erased.places.items() if name not in ("counters", "stray_receipts")
    ), erased
    assert shop.where(ANN) == set()


def test_no_table_of_users_is_forgotten(tmp_path: Path) -> None:
    """Whoever adds a table with users says in the room's `erasure` how they are taken out of it."""
    shop = Shop(tmp_path / "data", "", "")
    places = shop.service.erasure.places
    shop.close()
    named = {table.name for place in places if isinstance(place, Rows) for table in place.tables}
    with_users = {
        table.name for table in metadata.sorted_tables if {"user_id", "profile"} & set(table.c.keys())
    } - {erasures.name}
    assert with_users <= named


def test_a_service_with_its_jobs_in_another_process_erases_too(tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(LIBRARY, data / "library")
    bought = {"value": 2.5, "categories": ["CHICKEN"]}
    with running_service(data, clock=START, seed="test", log=tmp_path / "log") as client:
        for user in (ANN, BOB):
            event = {"userId": user, "messageId": user, "event": "order_completed", "properties": bought}
            moment = (START - timedelta(days=1)).isoformat()
            client.http.post("/v1/track", json={**event, "timestamp": moment}).raise_for_status()
        for job in ("features", "audiences"):
            client.http.post(f"/v1/jobs/{job}").raise_for_status()
        ask = {"user_id": ANN, "placement": "outbound"}
        assert client.http.post("/v1/decide", json=ask).raise_for_status().json()["fallback"] is None
        client.http.post("/v1/jobs/deliver").raise_for_status()
        counts = client.http.delete(f"/v1/users/{ANN}").raise_for_status().json()["erased"]
        assert all(counts[name] > 0 for name in ("users", "facts", "feature_history", "features_online"))
        assert client.http.post("/v1/decide", json=ask).json()["fallback"] == "unknown_user"
        # The other process computes everything anew, from what is left.
        for job in ("features", "audiences", "deliver", "reward", "learn", "ledger"):
            client.http.post(f"/v1/jobs/{job}").raise_for_status()
        assert client.http.post("/v1/decide", json=ask).json()["fallback"] == "unknown_user"
        assert client.http.get(f"/v1/users/{BOB}").status_code == 200
    for path in (data / "features").rglob("*.parquet"):
        assert ANN not in str(pq.ParquetFile(path).read().to_pydict()), path


def test_the_command_line_erases_while_no_service_runs(
    tmp_path: Path, filled: Callable[[str, str, str], Filled]
) -> None:
    shutil.copytree(filled("sqlite", "", "").data, tmp_path / "data")
    shop = Shop(tmp_path / "data", "", "")
    data = ["--data", str(shop.data)]
    with_service = CliRunner().invoke(command_line, ["users", "erase", ANN, *data])
    assert isinstance(with_service.exception, NextplayError)
    assert "another nextplay process owns" in str(with_service.exception)
    shop.close()
    erased = CliRunner().invoke(command_line, ["users", "erase", ANN, *data])
    assert erased.exit_code == 0, erased.output
    lines = erased.output.splitlines()
    assert lines[-1].startswith("what is left of their facts tells of erased-")
    assert "coupons\t2" in lines or "coupons\t3" in lines
    unknown = CliRunner().invoke(command_line, ["users", "erase", ANN, *data])
    assert "nothing is known of user" in str(unknown.exception)
    nowhere = CliRunner().invoke(command_line, ["users", "erase", ANN, "--data", str(tmp_path / "none")])
    assert "there is no database" in str(nowhere.exception)
    for path in shop.data.rglob("*"):
        if path.is_file() and path.suffix in {".db", ".eml", ".db-wal"}:
            assert ANN.encode() not in path.read_bytes(), path
