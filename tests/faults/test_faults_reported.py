"""What the harness once found, kept as tests."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx2

from tests.faults.harness import Harness, Launcher
from tests.faults.load import USERS
from tests.faults.stores import PostgresServer


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
