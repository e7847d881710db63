"""Story 33, in part: a note, a deal's stage and a ticket arrive by signed webhook and are known at once.

What the lead then no longer gets, and what a ticket holds back, comes with the playbooks that ask for it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from standardwebhooks import Webhook
from typer.testing import CliRunner

from decision import crm_commands
from decision.demo.client import running_service
from decision.demo.run import LIBRARY
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running

SECRET = "whsec_c2FsZXMga25vd3MgZmlyc3QsIHNheXMgaXQ="
CRM = """
sources:
  - id: acme
    type: object
    owns: [deal_stage]
    objects:
      - when: note
        id: id
        updated_at: at
        user_id: customer
        identities: [{kind: email, path: contact}]
        event: sales_note_added
        properties: {text: {path: text, required: true}}
      - when: deal
        id: id
        updated_at: at
        user_id: customer
        identities: [{kind: email, path: contact}]
        event: deal_stage_changed
        properties: {stage: {path: stage, required: true}, amount: {path: amount, type: money, currency: EUR}}
        traits: {deal_stage: stage}
      - when: ticket
        id: id
        updated_at: at
        user_id: customer
        identities: [{kind: email, path: contact}]
        event: {path: status, names: {open: ticket_opened, solved: ticket_resolved}}
        properties: {priority: priority}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service whose library knows a CRM, and whose settings know the CRM's secret."""
    data = tmp_path_factory.mktemp("sales")
    shutil.copytree(LIBRARY, data / "library")
    (data / "library" / "crm.yaml").write_text(CRM)
    (data / "settings.env").write_text(f'NEXTPLAY_WEBHOOK_SECRETS={{"acme": ["{SECRET}"]}}\n')
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)


@pytest.fixture
def lead(service: Running, user: str) -> str:
    """A user whose address the product has verified."""
    traits = {"email": f"{user}@example.com", "email_verified": True}
    identify = {"userId": user, "traits": traits, "type": "identify"}
    assert service.http.post("/v1/identify", json=identify).status_code == 200
    return user


def tell(service: Running, payload: dict[str, Any], secret: str = SECRET) -> httpx2.Response:
    body, webhook_id, now = json.dumps(payload), str(uuid4()), datetime.now(UTC)
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, now, body),
    }
    # The signature is the key: no other is sent.
    with httpx2.Client(base_url=service.http.base_url) as crm:
        return crm.post("/v1/webhooks/acme", content=body, headers=headers)


def told(user: str, object_: str, **more: Any) -> dict[str, Any]:
    at = START.isoformat()
    whose = {"customer": user, "contact": f"{user}@example.com"}
    return {"object": object_, "id": f"{object_}-{user}", "at": at, **whose, **more}


def test_sales_is_known_within_the_answer(service: Running, lead: str) -> None:
    for payload in (
        told(lead, "note", text="Wants to see it in May."),
        told(lead, "deal", stage="negotiation", amount="4800.00"),
        told(lead, "ticket", status="open", priority="high"),
    ):
        assert tell(service, payload).json() == {"outcome": "recorded"}
    events = {fact["label"]: fact["body"].get("properties") for fact in service.history(lead)}
    assert events["sales_note_added"] == {"text": "Wants to see it in May."}
    assert events["deal_stage_changed"]["amount"] == 480000
    assert events["ticket_opened"] == {"priority": "high"}
    traits = service.http.get(f"/v1/users/{lead}/traits").json()["traits"]
    assert (traits["deal_stage"]["value"], traits["deal_stage"]["owner"]) == ("negotiation", "crm.acme")


def test_who_is_known_by_an_address_only_is_found_by_it(service: Running, lead: str) -> None:
    deal = told(lead, "deal", stage="won", amount="1.00")
    del deal["customer"]
    assert tell(service, deal).json() == {"outcome": "recorded"}
    traits = service.http.get(f"/v1/users/{lead}/traits").json()["traits"]
    assert traits["deal_stage"]["value"] == "won"


def test_a_forged_webhook_is_refused_and_nothing_is_kept(service: Running, lead: str) -> None:
    refused = tell(service, told(lead, "deal", stage="won"), "whsec_Zm9yZ2Vk")
    assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
    assert service.http.post("/v1/webhooks/acme", json=told(lead, "note", text="x")).status_code == 401
    assert {fact["label"] for fact in service.history(lead)} == {"identify"}
    assert SECRET not in (service.data / "service.log").read_text()


def test_what_the_crm_and_we_hold_can_be_compared(service: Running, lead: str, tmp_path: Path) -> None:
    tell(service, told(lead, "note", text="first call"))
    export = tmp_path / "notes.csv"
    key = service.http.headers["authorization"].removeprefix("Bearer ")
    row = f"note-{lead},{START.isoformat()},{lead},{lead}@example.com"
    for text in ("first call", "second call"):
        export.write_text(f"object,id,at,customer,contact,text\nnote,{row},{text}\n")
        arguments = ["reconcile", "acme", str(export), "--url", str(service.http.base_url), "--key", key]
        result = CliRunner().invoke(crm_commands.app, arguments)
        differing = [line for line in result.output.splitlines() if line.startswith("differing")]
        assert len(differing) == (text == "second call"), result.output
    assert "field=properties.text\there=first call\tthere=second call" in result.output
    assert result.exit_code == 1
