"""Story 35: a wrong message went out within some minutes: find everyone, take back what can be taken."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.acceptance.driver import Running

FLOW = {
    "start": "give",
    "states": {
        "give": {"kind": "issue", "next": "tell"},
        "tell": {"kind": "send", "next": "wait"},
        "wait": {"kind": "wait", "duration": "P2D", "next": "remind"},
        "remind": {"kind": "send", "next": "over"},
        "over": {"kind": "end", "result": "told"},
    },
}
SORRY_FLOW = {
    "start": "tell",
    "states": {"tell": {"kind": "send", "next": "over"}, "over": {"kind": "end", "result": "told"}},
}


def plan(name: str, offer: str, content: str, flow: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "placement": "outbound",
        "goal": {"event": "order_completed", "window": "P7D"},
        "variants": [{"offer": offer, "channel": "mailbox", "content": content}],
        "flow": flow,
        **fields,
    }


@pytest.fixture(scope="module")
def service(operated: Running) -> Iterator[Running]:
    """Shortly before eleven, with a wrong playbook above all others, and one that corrects it."""
    later = (operated.now + timedelta(days=5)).replace(hour=10, minute=58)
    operated.move(later - operated.now)
    document = {
        "offers": [
            {"id": "flash", "name": "Five hundred off", "kind": "fixed_amount", "value": "500.00 EUR"},
            {"id": "apology", "name": "Our apologies"},
        ],
        "contents": [
            {"id": "flash_notice", "subject": "500 off", "body": "Take {{ offer.name }}."},
            {"id": "sorry_notice", "subject": "We made a mistake", "body": "It is five, not five hundred."},
        ],
        "playbooks": [
            plan("flash", "flash", "flash_notice", FLOW, priority=99),
            plan("sorry", "apology", "sorry_notice", SORRY_FLOW, priority=-1000, purpose="transactional"),
        ],
        "publish": True,
    }
    done = operated.http.post("/v1/library/import", json=document)
    assert done.status_code == 200, done.text
    assert set(done.json()["live"]) == {"flash@1", "sorry@1"}
    yield operated
    for name in ("flash", "sorry"):
        operated.http.post(f"/v1/playbooks/{name}/retire")


def buyer(service: Running) -> str:
    user = f"flashed-{uuid4().hex[:10]}"
    service.order(user, "COFFEE", days_ago=3)
    return user


def gets_it(service: Running, user: str) -> None:
    assert service.acting_decision(user)["playbook"] == "flash"
    service.run("deliver")


def recall(service: Running, since: datetime, until: datetime, **fields: Any) -> dict[str, Any]:
    body = {
        "playbook": "flash",
        "version": 1,
        "since": since.isoformat(),
        "until": until.isoformat(),
        "why": "a wrong amount",
        "coupons": "void",
        "correction": "sorry",
        **fields,
    }
    response = service.http.post("/v1/recalls", json=body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def subjects(service: Running, user: str) -> list[str]:
    return sorted(str(mail["Subject"]) for mail in service.mails_to(user))


def test_a_wrong_message_is_recalled(service: Running) -> None:
    early, ann, bob, queued, late = (buyer(service) for _ in range(5))
    service.run("push", "features", "audiences")
    gets_it(service, early)
    service.move(timedelta(minutes=4))
    since = service.now
    gets_it(service, ann)
    service.move(timedelta(minutes=3))
    gets_it(service, bob)
    service.move(timedelta(minutes=4))
    until = service.now
    gets_it(service, late)
    # Somebody stops the channel; one message waits by then.
    stop = {"scope": "channel", "target": "mailbox", "why": "a wrong amount"}
    assert service.http.post("/v1/controls", json=stop).status_code == 201
    gets_it(service, queued)

    rehearsed = recall(service, since, until)
    assert rehearsed["dry_run"] is True
    assert rehearsed["user_ids"] == sorted([ann, bob])
    assert (rehearsed["messages"], rehearsed["queued"], rehearsed["decisions"]) == (2, 1, 3)
    assert (rehearsed["coupons_open"], rehearsed["exposure"]) == (3, ["1500.00 EUR"])
    assert subjects(service, ann) == ["500 off"]

    done = recall(service, since, until, dry_run=False)
    assert (done["queued"], done["voided"], done["corrections"]) == (1, 3, 2)
    gone = service.http.delete("/v1/controls", params={"scope": "channel", "target": "mailbox"})
    assert gone.status_code == 200
    service.run("deliver")
    for user in (ann, bob):
        assert subjects(service, user) == ["500 off", "We made a mistake"]
    assert subjects(service, queued) == []
    # Again: everything is done already, nobody gets a second correction.
    again = recall(service, since, until, dry_run=False)
    assert (again["queued"], again["voided"], again["corrections"]) == (0, 0, 0)

    # No reminder for those; the others are none of its business.
    service.move(timedelta(days=3))
    service.run("deliver")
    assert subjects(service, ann) == ["500 off", "We made a mistake"]
    assert subjects(service, early) == subjects(service, late) == ["500 off", "500 off"]
    labels = {(one["kind"], one["label"]) for one in service.history(queued)}
    assert {("coupon", "voided"), ("suppression", "recall.flash@1"), ("recall", "flash")} <= labels
    assert ("recall", "flash") not in {(one["kind"], one["label"]) for one in service.history(late)}


def test_what_makes_no_sense_is_said(service: Running) -> None:
    def refused(**fields: Any) -> tuple[int, str]:
        body = {
            "playbook": "flash",
            "version": 1,
            "since": "2026-03-02T10:02:00Z",
            "until": "2026-03-02T10:09:00Z",
            "why": "x",
            **fields,
        }
        response = service.http.post("/v1/recalls", json=body)
        return response.status_code, response.text

    assert refused(version=7)[0] == 404
    assert refused(playbook="flush")[0] == 404
    assert refused(until="2026-03-02T10:00:00Z")[0] == 422
    assert refused(correction="nobody_knows")[0] == 404
    status, text = refused(correction="everyone")
    assert status == 422
    assert "give it one" in text
    assert refused(since="2026-03-02T10:02:00")[0] == 422
