"""Story 18: a provider slows to 10 messages a second, then fails for five minutes; nothing is lost."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from zlib import crc32

import pytest

from decision.demo.run import LIBRARY
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running
from tests.launching import running_service

CHANNELS = """
channels:
  - {{id: mailbox, kind: mailbox}}
  - id: sms
    kind: sms_gateway
    settings:
      url: {url}
      auth: {{bearer: carrier}}
      request: {{to: "{{address}}", text: "{{body}}"}}
    management: {{concurrency: 4, breaker: {{failures: 5, share: 0.1, rest: PT30S}}}}
"""
USERS = [f"choked-{number:02}" for number in range(45)]
SECOND = timedelta(seconds=1)


class Provider:
    """Takes so many messages until it is told to take more, then says that it is busy; or it fails."""

    def __init__(self) -> None:
        self.room = 10
        self.down = False
        self.taken: Counter[str] = Counter()
        self._lock = Lock()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                status = provider.answer(self.headers["idempotency-key"])
                body = json.dumps({"id": "x"}).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                if status == 429:
                    self.send_header("retry-after", "1")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/messages"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, key: str) -> int:
        with self._lock:
            if self.down:
                return 503
            if not self.room:
                return 429
            self.room -= 1
            self.taken[key] += 1
            return 200

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("choked")
    shutil.copytree(LIBRARY, data / "library")
    (data / "library" / "channels.yaml").write_text(CHANNELS.format(url=provider.url))
    (data / "settings.env").write_text('NEXTPLAY_CHANNEL_SECRETS={"carrier": "a secret"}\n')
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)


def publish(service: Running) -> None:
    """Everybody gets a mail and a text at once."""
    document = {
        "name": "both",
        "placement": "outbound",
        "priority": 90,
        "goal": {"event": "order_completed", "window": "P7D"},
        "variants": [{"offers": ["bacon"], "channel": "mailbox", "content": "offer_notice"}],
        "flow": {
            "start": "mail",
            "states": {
                "mail": {"kind": "send", "next": "text"},
                "text": {"kind": "send", "channel": "sms", "next": "rest"},
                "rest": {"kind": "wait", "duration": "P5D", "next": "over"},
                "over": {"kind": "end", "result": "over"},
            },
        },
    }
    saved = service.http.put("/v1/playbooks/both/draft", json=document)
    assert (saved.status_code, saved.json()["problems"]) == (200, []), saved.text
    for move in ("submit", "publish"):
        assert service.http.post(f"/v1/playbooks/both/{move}").status_code == 200


def begin(service: Running, *users: str) -> None:
    for user in users:
        service.order(user, "COFFEE", days_ago=3)
        service.identify(user, days_ago=3, phone=f"+4915112{crc32(user.encode()) % 1_000_000:06}")
    service.run("push", "features", "audiences")
    for user in users:
        assert service.acting_decision(user)["playbook"] == "both"


def channel(service: Running, name: str) -> dict[str, Any]:
    found: dict[str, Any] = service.http.get(f"/v1/channels/{name}").json()
    return found


def mailed(service: Running) -> int:
    return len(list((service.data / "mailbox").rglob("*.eml")))


def test_the_queue_grows_nothing_is_lost_and_others_go_on(service: Running, provider: Provider) -> None:
    publish(service)
    begin(service, *USERS)
    # Ten a second: what is too much is told so, and waits.
    for second in range(1, 4):
        service.run("deliver")
        assert sum(provider.taken.values()) == 10 * second
        assert mailed(service) == len(USERS)
        sms = channel(service, "sms")
        assert (sms["state"], sms["waiting"]) == ("busy", len(USERS) - 10 * second)
        assert sms["oldest_at"] is not None
        assert sms["minutes"]["taken"] == 10 * second
        assert sms["minutes"]["busy"] >= second
        service.move(SECOND)
        provider.room = 10
    assert channel(service, "mailbox")["state"] == "open"

    # It fails for five minutes, while others come to want something.
    provider.down = True
    service.run("deliver")
    broken = channel(service, "sms")
    assert broken["state"] == "broken"
    assert broken["breaker"]["phase"] == "open"
    assert "503" in broken["breaker"]["why"]
    later = ["choked-later-1", "choked-later-2"]
    begin(service, *later)
    for _ in range(10):
        service.move(30 * SECOND)
        service.run("deliver")
    assert sum(provider.taken.values()) == 30
    assert mailed(service) == len(USERS) + len(later)
    broken = channel(service, "sms")
    assert broken["waiting"] == 15 + len(later)
    # It was left alone but for what was on its way, and a probe every half a minute.
    assert broken["minutes"]["failed"] <= 15 + 10

    # It is back.
    provider.down, provider.room = False, 1_000
    for _ in range(30):
        service.move(timedelta(minutes=1))
        service.run("deliver")
        if not channel(service, "sms")["waiting"]:
            break
    names = [one["name"] for one in service.http.get("/v1/channels").json()["channels"]]
    assert names == ["mailbox", "sms", "webhook"]
    sms = channel(service, "sms")
    assert (sms["state"], sms["waiting"], sms["breaker"]["phase"]) == ("open", 0, "closed")
    assert len(provider.taken) == len(USERS) + len(later)
    assert set(provider.taken.values()) == {1}
    texts = [
        one["label"]
        for one in service.history(USERS[-1])
        if one["kind"] == "message" and one["body"]["channel"] == "sms"
    ]
    assert sorted(texts) == ["queued", "sent"]
    waiting = service.http.get("/metrics").text
    assert 'nextplay_channel_waiting{channel="sms"}' in waiting


def test_a_channel_that_is_not_there_is_said(service: Running) -> None:
    response = service.http.get("/v1/channels/smss")
    assert response.status_code == 404
    assert "there is no channel 'smss', did you mean 'sms'?" in response.json()["detail"]
