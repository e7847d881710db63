"""Story 13, in part: after a complaint a compensation coupon, once in 90 days, whatever promotions used up.

The complaint is a trigger that tags the user at once, and the backend asks. That the trigger itself asks
comes with what starts playbooks by their triggers.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import yaml

from decision.demo.run import LIBRARY
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running
from tests.launching import running_service

CONSTRAINTS = "- {id: promotional_week, limit: 1, window: P7D, for: {purposes: [promotional]}}\n"
TRIGGERS = """
triggers:
  - id: complained
    name: Somebody complained
    when: {event: complaint_made}
    tag: {tag: complained, expires_after: P7D}
"""
COMPENSATION: dict[str, Any] = {
    "id": "compensation",
    "name": "A coupon after a complaint",
    "purpose": "service",
    "priority": 100,
    "rules": {"applicability": "tag('complained')"},
    "constraints": [{"id": "quarter", "limit": 1, "window": "P90D"}],
    "variants": [{"offer": "sorry", "channel": "mailbox", "content": "offer_notice"}],
    "goal": {"event": "order_completed", "window": "P14D"},
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with one promotion a week, and a compensation for who complained."""
    data = tmp_path_factory.mktemp("complaint")
    shutil.copytree(LIBRARY, data / "library")
    library = data / "library"
    everyone = yaml.safe_load((library / "playbooks" / "everyone.yaml").read_text())
    for path in (library / "playbooks").glob("*.yaml"):
        if path.stem != "everyone":
            path.unlink()
    plan = everyone | COMPENSATION
    plan["flow"]["states"]["wait_for_use"].pop("where", None)
    (library / "playbooks" / "compensation.yaml").write_text(yaml.safe_dump(plan))
    sorry = {"id": "sorry", "name": "We are sorry", "kind": "fixed_amount", "value": "5.00 EUR"}
    offers = yaml.safe_load((library / "offers.yaml").read_text())
    (library / "offers.yaml").write_text(yaml.safe_dump([*offers, sorry]))
    (library / "constraints.yaml").write_text(CONSTRAINTS)
    (library / "triggers.yaml").write_text(TRIGGERS)
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)


def complain(service: Running, user: str) -> None:
    """Let a user complain, and what that triggers come about."""
    message = {
        "messageId": str(uuid4()),
        "userId": user,
        "event": "complaint_made",
        "timestamp": service.now.isoformat(),
        "properties": {"about": "delivery"},
    }
    assert service.http.post("/v1/track", json=message).json()["accepted"] == 1
    service.run("triggers")


def test_a_compensation_once_a_quarter_beside_the_promotional_cap(service: Running, user: str) -> None:
    service.order(user, "COFFEE", days_ago=5)
    service.run("features", "audiences")
    first = service.acting_decision(user)
    assert first["playbook"] == "everyone"
    assert first["suppressed"] == {"applicability.compensation": ["compensation"]}
    service.run("deliver")
    nothing = service.decide(user).json()
    assert nothing["playbook"] is None
    assert nothing["suppressed"]["cap.promotional_week"] == ["everyone"]

    complain(service, user)
    sorry = service.acting_decision(user)
    assert (sorry["playbook"], sorry["offer"]["id"]) == ("compensation", "sorry")
    assert sorry["suppressed"] == {"cap.promotional_week": ["everyone"]}
    service.run("deliver")
    issued = [one for one in service.history(user) if (one["kind"], one["label"]) == ("coupon", "issued")]
    assert {"offer": "sorry", "liability": 500} in [
        {name: one["body"].get(name) for name in ("offer", "liability")} for one in issued
    ]

    # It used up nothing of the promotions', which are due again when their week is over.
    service.move(timedelta(days=7))
    assert service.acting_decision(user)["playbook"] == "everyone"

    service.move(timedelta(days=23))
    service.order(user, "COFFEE")
    service.run("features", "audiences")
    complain(service, user)
    again = service.decide(user).json()
    assert again["suppressed"]["cap.compensation.quarter"] == ["compensation"]

    service.move(timedelta(days=60, seconds=1))
    service.order(user, "COFFEE")
    service.run("features", "audiences")
    complain(service, user)
    assert service.acting_decision(user)["playbook"] == "compensation"
