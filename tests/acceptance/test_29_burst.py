"""Story 29: fifty times the usual rate of events for some seconds; none accepted is lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from uuid import uuid4

import httpx2

from tests.acceptance.driver import Running

USUAL_PER_SECOND = 40
TIMES = 50
SECONDS = 4
SENDERS = 8
BATCH = 100


def test_a_burst_is_taken_or_refused_with_a_clear_answer(service: Running, user: str) -> None:
    service.order(user, "COFFEE", days_ago=3)
    service.run("features", "audiences")
    burst = Burst(service, user)
    burst.send()
    assert burst.unclear == []
    assert sum(burst.answers.values()) == USUAL_PER_SECOND * TIMES * SECONDS / BATCH
    assert burst.answers[200] > 0
    # Each was given an answer while the events came in, and none of them is the fallback of a failure.
    assert len(burst.decided) >= SECONDS
    assert {answer["fallback"] for answer in burst.decided} == {None}
    for number, sender in enumerate(burst.users):
        recorded = [fact["id"] for fact in service.history(sender) if fact["kind"] == "event"]
        accepted = burst.accepted[number]
        assert len(set(recorded)) == len(recorded)
        assert set(accepted) <= set(recorded)


class Burst:
    """Many senders at once, a user for every hundred events, and decisions beside them."""

    def __init__(self, service: Running, user: str) -> None:
        self._service, self._user = service, user
        self._url = str(service.http.base_url)
        self._headers = dict(service.http.headers)
        total = USUAL_PER_SECOND * TIMES * SECONDS
        self._work = iter(range(total // BATCH))
        self._lock = threading.Lock()
        self._done = threading.Event()
        self.users = [f"burst-{uuid4().hex[:8]}-{number}" for number in range(total // BATCH)]
        self.accepted: dict[int, list[str]] = {number: [] for number in range(total // BATCH)}
        self.answers: dict[int, int] = {200: 0}
        self.unclear: list[str] = []
        self.decided: list[dict[str, object]] = []

    def send(self) -> None:
        """Send all of it as fast as the senders can, and decide until they are done."""
        senders = [threading.Thread(target=self._send) for _ in range(SENDERS)]
        asking = threading.Thread(target=self._ask)
        for thread in (*senders, asking):
            thread.start()
        for thread in senders:
            thread.join()
        self._done.set()
        asking.join()

    def _batches(self) -> Iterator[int]:
        while True:
            with self._lock:
                number = next(self._work, None)
            if number is None:
                return
            yield number

    def _send(self) -> None:
        with httpx2.Client(base_url=self._url, headers=self._headers, timeout=60) as http:
            for number in self._batches():
                self._note(number, *self._sent(http, number))

    def _sent(self, http: httpx2.Client, number: int) -> tuple[list[str], httpx2.Response]:
        ids = [f"{self.users[number]}-{index}" for index in range(BATCH)]
        messages = [
            {"type": "track", "messageId": one, "userId": self.users[number], "event": "seen"} for one in ids
        ]
        return ids, http.post("/v1/batch", content=json.dumps({"batch": messages}))

    def _note(self, number: int, ids: list[str], response: httpx2.Response) -> None:
        clear = response.status_code == 200 or (
            response.status_code in (429, 503) and "retry-after" in response.headers
        )
        with self._lock:
            self.answers[response.status_code] = self.answers.get(response.status_code, 0) + 1
            if not clear or (response.status_code == 200 and response.json()["accepted"] != BATCH):
                self.unclear.append(response.text)
            elif response.status_code == 200:
                self.accepted[number] = ids

    def _ask(self) -> None:
        while True:
            response = self._service.decide(self._user)
            assert response.status_code == 200, response.text
            self.decided.append(response.json())
            if self._done.is_set() and len(self.decided) >= SECONDS:
                return
            time.sleep(0.05)
