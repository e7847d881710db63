"""Story 28: rates against thresholds; a playbook past its threshold pauses itself, and says why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.acceptance.driver import Running


@pytest.fixture(scope="module")
def service(operated: Running) -> Iterator[Running]:
    """Some days on, at noon: what other stories sent is out of the window."""
    operated.run("deliver")
    later = (operated.now + timedelta(days=4)).replace(hour=11, minute=0)
    operated.move(later - operated.now)
    operated.run("deliver", "protect")
    yield operated
    # Whatever came of it, other stories find nothing stopped.
    for one in stopped(operated):
        params = {"scope": one["scope"], "target": one["target"]}
        operated.http.delete("/v1/controls", params=params)


def stopped(service: Running) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.http.get("/v1/controls").json()["controls"]
    return found


def happens(service: Running, user: str, event: str) -> None:
    message = {
        "messageId": str(uuid4()),
        "userId": user,
        "event": event,
        "timestamp": service.now.isoformat(),
        "properties": {},
    }
    assert service.http.post("/v1/track", json=message).json()["accepted"] == 1


def test_complaints_pause_a_playbook_and_its_channel_until_somebody_looked(service: Running) -> None:
    users = [f"receiver-{uuid4().hex[:10]}" for _ in range(9)]
    for user in users:
        service.order(user, "COFFEE", days_ago=3)
    service.run("push", "features", "audiences")
    decided = [service.acting_decision(user) for user in users]
    playbooks = {one["playbook"] for one in decided}
    assert len(playbooks) == 1
    (playbook,) = playbooks
    service.run("deliver")
    # One complaint of nine is no more than chance may bring.
    service.move(timedelta(minutes=1))
    happens(service, users[0], "email_complained")
    assert service.run("protect")["paused"] == []
    for user in users[1:8]:
        happens(service, user, "email_complained")
    paused = service.run("protect")["paused"]
    assert paused == [f"playbook {playbook}", "channel mailbox"]

    found = {one["scope"]: one for one in stopped(service)}
    assert found["playbook"]["by"] == "protection"
    assert "complaints: 8 of " in found["playbook"]["why"]
    assert "above 20 %" in found["playbook"]["why"]
    assert f"control.playbook.{playbook}" in service.decide(users[8]).json()["suppressed"]

    # Somebody looks and resumes; what was seen before does not pause it again.
    for scope, target in (("playbook", playbook), ("channel", "mailbox")):
        params = {"scope": scope, "target": target, "why": "the wording is corrected"}
        assert service.http.delete("/v1/controls", params=params).status_code == 200
    service.run("deliver")
    assert service.run("protect")["paused"] == []
    assert stopped(service) == []
