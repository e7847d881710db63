"""Story 33, in part: a note, a deal's stage and a ticket arrive by signed webhook and are known at once.

A gold account's users get the gold plan, and are called when their account comes to a stage. An open ticket
holds promotions until it is resolved. What the lead then no longer gets comes with playbooks that ask for it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from standardwebhooks import Webhook
from typer.testing import CliRunner

from decision import crm_commands
from decision.demo.run import LIBRARY
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running
from tests.launching import running_service

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
      - {when: company, id: id, updated_at: at, account_id: id, account_traits: {tier: tier}}
"""
TRAITS = "account_traits: [{name: tier, type: text}]\n"
STAGES = """
lifecycles:
  - id: company
    of: account
    name: Companies
    start: prospect
    stages:
      - {id: prospect, to: [{stage: customer, when: account.orders_12w >= 1}]}
      - {id: customer, to: [{stage: partner, when: account.tier = 'gold'}]}
      - {id: partner, end: true}
"""
TRIGGERS = """
triggers:
  - {id: call_partner, name: Call a new partner, when: {lifecycle: company, stage: partner}, tag: {tag: call}}
"""
CONSTRAINTS = """
- kind: hold
  id: open_ticket
  opened_by: ticket_opened
  closed_by: ticket_resolved
  for: {purposes: [promotional]}
"""
AUDIENCES = """  - {id: gold, name: Of a gold account, rule: account.tier = 'gold'}
  - {id: partner, name: Of a partner, rule: account.stage = 'partner'}
tags:"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service whose library knows a CRM, and whose settings know the CRM's secret."""
    data = tmp_path_factory.mktemp("sales")
    shutil.copytree(LIBRARY, data / "library")
    library = data / "library"
    for name, text in (("crm", CRM), ("traits", TRAITS), ("stages", STAGES), ("triggers", TRIGGERS)):
        (library / f"{name}.yaml").write_text(text)
    (library / "constraints.yaml").write_text(CONSTRAINTS)
    audiences = library / "audiences.yaml"
    audiences.write_text(audiences.read_text().replace("tags:", AUDIENCES, 1))
    welcome = (library / "playbooks" / "welcome.yaml").read_text()
    plan = welcome.replace("welcome", "gold_plan").replace("new_shopper", "gold").replace(": 30", ": 50")
    (library / "playbooks" / "gold_plan.yaml").write_text(plan)
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


def test_a_gold_account_gets_the_gold_plan_and_is_called_when_it_becomes_a_partner(
    service: Running, user: str
) -> None:
    other, account = f"{user}-two", f"acme-{user}"
    for one in (user, other):
        group = {"messageId": str(uuid4()), "userId": one, "groupId": account}
        assert service.http.post("/v1/group", json=group).json()["accepted"] == 1
        service.order(one, "COFFEE", days_ago=1)
    service.run("features", "audiences", "triggers")
    assert service.acting_decision(other)["playbook"] == "welcome"
    url = f"/v1/accounts/{account}/stages"
    assert service.http.get(url).json()["company"]["stage"] == "customer"

    at = START.isoformat()
    gold = {"object": "company", "id": account, "at": at, "tier": "gold"}
    assert tell(service, gold).json() == {"outcome": "recorded"}
    # Places by rules first; who is in the audiences of stages is found by the next evaluation.
    service.run("audiences", "audiences", "triggers")
    for one in (user, other):
        shown = service.http.get(f"/v1/users/{one}").json()
        assert {"gold", "partner"} <= set(shown["audiences"])
        assert list(shown["tags"]) == ["call"]
        fired = [fact for fact in shown["history"] if fact["kind"] == "trigger"]
        assert [fact["label"] for fact in fired] == ["call_partner"]
        assert service.acting_decision(one)["playbook"] == "gold_plan"

    by_hand = {"stage": "customer", "by": "sam", "reason": "the contract ended"}
    put = service.http.put(f"{url}/company", json=by_hand)
    assert put.json()["company"]["stage"] == "customer"
    again = service.http.put(f"{url}/company", json=by_hand)
    assert (again.status_code, "already" in again.json()["detail"]) == (422, True)
    of_user = service.http.put(f"/v1/users/{user}/stages/company", json=by_hand)
    assert (of_user.status_code, "is of accounts" in of_user.json()["detail"]) == (404, True)
    assert service.http.get("/v1/accounts/nobody/stages").status_code == 404
    page = service.http.get("/v1/lifecycles/company").json()
    assert (page["of"], page["accounts"], page["standing"]["customer"]["accounts"]) == ("account", 1, 1)


def test_an_open_ticket_holds_promotions_until_it_is_resolved(service: Running, lead: str) -> None:
    service.order(lead, "COFFEE", days_ago=5)
    service.run("features", "audiences")
    assert service.acting_decision(lead)["offer"]
    assert tell(service, told(lead, "ticket", status="open")).json() == {"outcome": "recorded"}
    held = service.decide(lead).json()
    assert held["playbook"] is None
    assert "everyone" in held["suppressed"]["hold.open_ticket"]
    later = (START + timedelta(minutes=1)).isoformat()
    service.move(timedelta(minutes=2))
    solved = told(lead, "ticket", status="solved") | {"at": later}
    assert tell(service, solved).json() == {"outcome": "recorded"}
    assert "hold.open_ticket" not in service.decide(lead).json()["suppressed"]
