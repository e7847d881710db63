"""What clients know: every request they sent, and what was acknowledged. Kept outside the service."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple


class SentEvent(NamedTuple):
    """An event as the client sent it."""

    user: str
    name: str


class Journal:
    """Notes of all clients. Safe to use from any thread."""

    def __init__(self) -> None:
        self.sent: dict[str, SentEvent] = {}
        self.acknowledged: set[str] = set()
        self.asked: dict[str, str] = {}
        self.answers: dict[str, Any] = {}
        # Answers that must not be: another answer to the same key, a status no client can act on.
        self.contradictions: list[str] = []
        # What became of a code's use by an order, as it was answered last.
        self.uses: dict[tuple[str, str], str] = {}
        self.statuses: Counter[str] = Counter()
        self._lock = threading.Lock()

    def send_events(self, messages: Mapping[str, SentEvent]) -> None:
        with self._lock:
            self.sent.update(messages)

    def acknowledge_events(self, ids: list[str], answer: Any) -> None:
        """Note the answer to a batch: all of it but what was refused is now the service's to keep."""
        refused = {one["message_id"] for one in answer["refused"]}
        with self._lock:
            if answer["accepted"] + answer["duplicates"] + len(answer["refused"]) != len(ids):
                self.contradictions.append(f"a batch of {len(ids)} was answered {answer}")
            self.acknowledged.update(set(ids) - refused)

    def ask_decision(self, key: str, user: str) -> None:
        with self._lock:
            self.asked[key] = user

    def acknowledge_decision(self, key: str, answer: Any) -> None:
        """Note an answer; to the same key it must be the first one again."""
        with self._lock:
            first = self.answers.setdefault(key, answer)
            if first != answer:
                self.contradictions.append(f"the key {key} was answered {first}, then {answer}")

    def acknowledge_use(self, code: str, order: str, standing: str) -> None:
        """Note what became of an order's use of a code."""
        with self._lock:
            self.uses[code, order] = standing

    def status(self, method: str, path: str, status: int, text: str) -> None:
        """Note an answer that was none of 200."""
        with self._lock:
            self.statuses[f"{method} {path} {status}"] += 1
            if status >= 500 and status != 503 and len(self.contradictions) < 50:
                self.contradictions.append(f"{method} {path} was answered {status}: {text[:300]}")

    def old_key(self, number: float) -> tuple[str, str] | None:
        """Return a key (and its user) that was answered, the one at `number` in [0, 1) of all."""
        with self._lock:
            keys = list(self.answers)
        if not keys:
            return None
        key = keys[int(number * len(keys))]
        return key, self.asked[key]
