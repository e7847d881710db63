"""Drives a running service as a product backend or an operator would."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2


@dataclass
class Running:
    """The service under test: its HTTP client, its folder, and the moment it lives in."""

    http: httpx2.Client
    data: Path
    now: datetime

    def move(self, by: timedelta) -> None:
        """Move the service's clock."""
        self.now += by
        assert self.http.put("/v1/clock", json={"now": self.now.isoformat()}).status_code == 200

    def order(self, user: str, *categories: str, days_ago: float = 0.0) -> None:
        """Send an order of the user."""
        lines = [{"category": one, "quantity": 1, "value": 2.5, "discount": 0.5} for one in categories]
        message = {
            "messageId": str(uuid4()),
            "userId": user,
            "event": "order_completed",
            "timestamp": (self.now - timedelta(days=days_ago)).isoformat(),
            "properties": {"value": 2.5 * len(lines), "categories": list(categories), "lines": lines},
        }
        response = self.http.post("/v1/track", json=message)
        assert response.json()["accepted"] == 1, response.text

    def identify(self, user: str, *, days_ago: float = 0.0, **traits: Any) -> None:
        """Send traits of the user."""
        message = {
            "messageId": str(uuid4()),
            "userId": user,
            "timestamp": (self.now - timedelta(days=days_ago)).isoformat(),
            "traits": traits,
        }
        response = self.http.post("/v1/identify", json=message)
        assert response.json()["accepted"] == 1, response.text

    def run(self, *jobs: str) -> dict[str, Any]:
        """Run jobs and return the last one's report."""
        report: dict[str, Any] = {}
        for job in jobs:
            response = self.http.post(f"/v1/jobs/{job}")
            assert response.status_code == 200, response.text
            report = response.json()
        return report

    def decide(self, user: str, placement: str = "outbound", key: str | None = None) -> httpx2.Response:
        """Ask for a decision."""
        headers = {"Idempotency-Key": key} if key else {}
        return self.http.post("/v1/decide", json={"user_id": user, "placement": placement}, headers=headers)

    def decide_at_once(self, user: str, key: str, number: int, connections: int = 32) -> Counter[bytes]:
        """Ask so many times under one key, over connections at once; return the answers, head and body."""
        body = json.dumps({"user_id": user, "placement": "outbound"}).encode()
        head = (
            f"POST /v1/decide HTTP/1.1\r\nHost: nextplay\r\nIdempotency-Key: {key}\r\n"
            f"Authorization: {self.http.headers['authorization']}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        wire, answers = head.encode() + body, Counter[bytes]()

        async def ask(times: int) -> None:
            reader, writer = await asyncio.open_connection(self.http.base_url.host, self.http.base_url.port)
            for _ in range(times):
                writer.write(wire)
                told = await reader.readuntil(b"\r\n\r\n")
                length = int(told.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                answers[told.partition(b"\r\n")[0] + b"\n" + await reader.readexactly(length)] += 1
            writer.close()

        async def ask_all() -> None:
            shares = [number // connections + (one < number % connections) for one in range(connections)]
            await asyncio.gather(*map(ask, shares))

        asyncio.run(ask_all())
        return answers

    def history(self, user: str) -> list[dict[str, Any]]:
        """Return the user's facts, newest first."""
        history: list[dict[str, Any]] = self.http.get(f"/v1/users/{user}?limit=500").json()["history"]
        return history

    def mails_to(self, user: str) -> list[Message]:
        """Return the messages in the mailbox for the user."""
        mails = [message_from_bytes(path.read_bytes()) for path in (self.data / "mailbox").rglob("*.eml")]
        return [mail for mail in mails if user in str(mail["To"])]

    def acting_decision(self, user: str) -> dict[str, Any]:
        """Return a decision that gives the user an offer; exploration does nothing once in a long while."""
        for _ in range(20):
            answer: dict[str, Any] = self.decide(user).json()
            if answer["offer"]:
                return answer
        raise AssertionError("twenty decisions in a row did nothing")
