"""What the harness once found, kept as tests."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import httpx2
import msgspec
import pytest
from sqlalchemy import select

from delivery.models import MessageState
from delivery.tables import outbox
from tests.faults.alterations import HAND_OVERS, HandOver
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


@pytest.mark.parametrize(
    ("days", "becomes"),
    [
        # What the decisions had reserved would have expired, but was counted with their coupons: later ones
        # can't take the room before delivery goes on.
        (2, MessageState.DELIVERED),
        # The coupons are over, which stops a repeat.
        (15, MessageState.UNKNOWN),
    ],
)
def test_mail_handed_over_before_a_kill_is_not_suppressed_for_what_has_happened_since(
    days: int, becomes: MessageState, launcher: Launcher, tmp_path: Path
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
    lines = (tmp_path / HAND_OVERS).read_bytes().splitlines()
    handed_over = {msgspec.json.decode(line, type=HandOver).key for line in lines}
    assert handed_over
    harness.load.now += timedelta(days=days)
    assert harness.start()
    harness.ask(160, "after")
    found = harness.settle() + harness.close()
    assert not found, found
    with store.read() as connection:
        states = connection.execute(select(outbox.c.state).where(outbox.c.key.in_(handed_over))).scalars()
        assert set(states) == {becomes}
