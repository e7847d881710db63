"""What the harness once found, kept as tests."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import httpx2
from sqlalchemy import func, select

from delivery.models import MessageState
from delivery.tables import outbox
from tests.faults.harness import Harness, Launcher
from tests.faults.load import USERS
from tests.faults.stores import PostgresServer, Store


def test_one_key_asked_with_at_once_has_one_answer(
    launcher: Launcher, postgres: PostgresServer, tmp_path: Path
) -> None:
    harness = Harness(launcher, postgres.create(), tmp_path, seed="reported")
    answers: list[httpx2.Response] = []

    def ask(http: httpx2.Client, key: str) -> None:
        body = {"user_id": USERS[0], "placement": "outbound"}
        answers.append(http.post("/v1/decide", json=body, headers={"Idempotency-Key": key}))

    clients = [harness.connect() for _ in range(4)]
    for number in range(15):
        threads = [threading.Thread(target=ask, args=(http, f"key-{number}")) for http in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for http in clients:
        http.close()
    harness.close()
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 15


def test_mail_handed_over_before_a_kill_is_not_suppressed_by_a_cap_that_others_have_filled_since(
    launcher: Launcher, tmp_path: Path
) -> None:
    store = Store(f"sqlite:///{tmp_path / 'nextplay.db'}")
    harness = Harness(launcher, store, tmp_path, seed="reported")
    harness.kill()
    assert harness.start("relay.handed_over")
    harness.ask(160, "before")
    harness.load.resume(("deliver",))
    assert harness.wait_killed(20.0) == "jobs"
    harness.kill()
    harness.load.pause()
    # What the decisions had reserved has expired; later ones take the room before delivery goes on.
    harness.load.now += timedelta(days=2)
    assert harness.start()
    harness.ask(160, "after")
    found = harness.settle() + harness.close()
    assert not found, found
    with store.read() as connection:
        unknown = select(func.count()).where(outbox.c.state == MessageState.UNKNOWN)
        assert connection.execute(unknown).scalar_one() > 0
