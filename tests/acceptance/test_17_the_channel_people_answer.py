"""Story 17: who reads SMS and ignores e-mail gets SMS; a bounced address falls over to the next channel."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zlib import crc32

import pytest
from standardwebhooks import Webhook

from decision.demo.run import LIBRARY
from delivery.sandbox.running import Sandbox, running
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running
from tests.launching import running_service

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CHANNELS = """
channels:
  - {{id: email, kind: mailbox, management: {{then: [sms], cost: 0.01 EUR}}}}
  - id: sms
    kind: sms_gateway
    settings:
      url: {url}/sms/messages
      auth: {{bearer: carrier}}
      request: {{to: "{{address}}", text: "{{body}}"}}
      answer: {{id: id, error: error}}
    management: {{cost: 0.07 EUR}}
"""
PREFERRED = {"kind": "send", "channel": "preferred", "among": ["email", "sms"]}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("answered")
    library = data / "library"
    shutil.copytree(LIBRARY, library)
    (library / "channels.yaml").write_text(CHANNELS.format(url=sandbox.url))
    for path in (library / "playbooks").glob("*.yaml"):
        path.write_text(path.read_text().replace("channel: mailbox", "channel: email"))
    secrets = json.dumps({"email": [SECRET], "sms": [SECRET]})
    (data / "settings.env").write_text(
        f'NEXTPLAY_CHANNEL_SECRETS={{"carrier": "sandbox"}}\nNEXTPLAY_WEBHOOK_SECRETS={secrets}\n'
    )
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)


def publish(service: Running) -> None:
    """Week for week a message, each on the channel that is answered by then."""
    states: dict[str, Any] = {}
    for week in range(4):
        # The first two go out on both, or nobody could show what they read.
        for channel in ("email", "sms") if week < 2 else ("",):
            send = {"kind": "send", "channel": channel} if channel else PREFERRED
            after = f"sms{week}" if channel == "email" else f"rest{week}"
            states[f"{channel or 'best'}{week}"] = {**send, "next": after}
        following = {0: "email1", 1: "best2", 2: "best3", 3: "over"}[week]
        states[f"rest{week}"] = {"kind": "wait", "duration": "P7D", "next": following}
    states["over"] = {"kind": "end", "result": "over"}
    document = {
        "name": "weekly",
        "placement": "outbound",
        "priority": 90,
        "goal": {"event": "order_completed", "window": "P30D"},
        "variants": [{"offers": ["bacon"], "channel": "email", "content": "offer_notice"}],
        "flow": {"start": "email0", "states": states},
    }
    saved = service.http.put("/v1/playbooks/weekly/draft", json=document)
    assert (saved.status_code, saved.json()["problems"]) == (200, []), saved.text
    for move in ("submit", "publish"):
        assert service.http.post(f"/v1/playbooks/weekly/{move}").status_code == 200


def begin(service: Running, *users: str) -> None:
    for user in users:
        service.order(user, "COFFEE", days_ago=3)
        number = f"+4915113{crc32(user.encode()) % 1_000_000:06}"
        service.identify(user, days_ago=3, phone=number, email=f"{user}@example.com")
    service.run("push", "features", "audiences")
    for user in users:
        assert service.acting_decision(user)["playbook"] == "weekly"
    service.run("deliver")


def messages(service: Running, user: str, label: str = "sent") -> list[dict[str, Any]]:
    """Return the user's facts of messages, the oldest first."""
    found = [one for one in service.history(user) if (one["kind"], one["label"]) == ("message", label)]
    return found[::-1]


def tell(service: Running, channel: str, *receipts: dict[str, Any]) -> None:
    """Tell the service of messages as a provider does."""
    told = [{"id": str(uuid4()), "timestamp": service.now.isoformat(), **one} for one in receipts]
    body, name, at = json.dumps({"receipts": told}), str(uuid4()), datetime.now(UTC)
    headers = {
        "webhook-id": name,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(name, at, body),
    }
    response = service.http.post(f"/v1/receipts/{channel}", content=body, headers=headers)
    assert response.status_code == 200, response.text


def test_who_reads_sms_gets_sms_and_a_bounce_goes_on(service: Running, sandbox: Sandbox) -> None:
    publish(service)
    reader, mailer = f"reader-{uuid4().hex[:8]}", f"mailer-{uuid4().hex[:8]}"
    begin(service, reader, mailer)
    for _ in range(2):
        service.move(timedelta(hours=1))
        for user, channel in ((reader, "sms"), (mailer, "email")):
            last = [one for one in messages(service, user) if one["body"]["channel"] == channel][-1]
            key = last["id"].removesuffix(":sent")
            tell(service, channel, {"type": "replied", "message_id": key})
        service.run("receipts")
        service.move(timedelta(days=7))
        service.run("deliver")
    # The third week: each got it where it is answered.
    assert [one["body"]["channel"] for one in messages(service, reader)][4:] == ["sms"]
    assert [one["body"]["channel"] for one in messages(service, mailer)][4:] == ["email"]

    # The mail of the third week comes back: the text goes out instead, once.
    before = len(sandbox.taking.all())
    (_, _, bounced) = [one for one in messages(service, mailer) if one["body"]["channel"] == "email"]
    key = bounced["id"].removesuffix(":sent")
    assert (bounced["body"]["cost"], bounced["body"]["currency"]) == (1, "EUR")
    tell(service, "email", {"type": "bounced", "message_id": key, "reason": "550 no such user"})
    service.run("receipts", "deliver")
    service.run("deliver")
    assert len(sandbox.taking.all()) == before + 1
    instead = messages(service, mailer)[-1]
    assert (instead["id"], instead["body"]["channel"]) == (f"{key}~sms:sent", "sms")
    assert instead["body"]["cost"] == 7
    queued = messages(service, mailer, "queued")[-1]
    assert queued["body"]["reason"] == "instead of email: a receipt says that it bounced"
    # Six texts and five mails.
    costs = service.http.get("/v1/summary").json()["message_costs"]
    assert costs == {"weekly": {"email": ["0.05 EUR"], "sms": ["0.42 EUR"]}}
