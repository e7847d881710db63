"""Story 34: a new plan runs for a hand-picked list and a capped share; it graduates by its test, or ends."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from decision.demo.run import LIBRARY
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running
from tests.launching import running_service

HAND_LIST = [f"picked-{number}" for number in range(25)]
OTHERS = [f"other-{number}" for number in range(40)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of its own, whose users have all bought something before."""
    data = tmp_path_factory.mktemp("pilot")
    shutil.copytree(LIBRARY, data / "library")
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        running = Running(client.http, data, START)
        for user in (*HAND_LIST, *OTHERS):
            running.order(user, "COFFEE", days_ago=3)
        running.run("push", "features", "audiences")
        yield running


def plan(**pilot: Any) -> dict[str, Any]:
    """A playbook above all others, for whoever takes part in its pilot."""
    return {
        "name": "Something new",
        "owner": "growth",
        "placement": "outbound",
        "priority": 90,
        "goal": {"event": "order_completed", "window": "P7D", "value": 1},
        "variants": [{"offer": "bacon", "channel": "mailbox", "content": "offer_notice"}],
        "pilot": {"users": HAND_LIST, "share": 0.25, "floor": 0.1, "ceiling": 0.99, **pilot},
        "flow": {
            "start": "tell",
            "states": {"tell": {"kind": "send", "next": "over"}, "over": {"kind": "end", "result": "told"}},
        },
    }


def begin(service: Running, playbook: str, document: dict[str, Any]) -> None:
    saved = service.http.put(f"/v1/playbooks/{playbook}/draft", json=document)
    assert (saved.status_code, saved.json()["problems"]) == (200, [])
    assert service.http.post(f"/v1/playbooks/{playbook}/submit").json()["state"] == "approved"
    moved = service.http.post(f"/v1/playbooks/{playbook}/pilot", json={"why": "try it"})
    assert moved.json()["state"] == "pilot", moved.text


def decided(service: Running, users: list[str], playbook: str) -> tuple[set[str], set[str]]:
    """Those who got the plan, and those of whom its pilot's rule says that they don't take part."""
    took, outside = set(), set()
    for user in users:
        answer = service.decide(user).json()
        if answer["playbook"] == playbook:
            took.add(user)
        if f"pilot.{playbook}" in answer["suppressed"]:
            assert answer["suppressed"][f"pilot.{playbook}"] == [playbook]
            outside.add(user)
    return took, outside


def test_it_runs_for_the_list_and_a_share_and_graduates(service: Running) -> None:
    begin(service, "spring", plan())
    picked, none = decided(service, HAND_LIST, "spring")
    # Exploration does nothing once in a long while.
    assert len(picked) >= len(HAND_LIST) - 5
    assert not none
    shared, outside = decided(service, OTHERS, "spring")
    assert shared.isdisjoint(outside)
    assert 2 <= len(shared) <= 20
    assert len(outside) >= 20
    again = decided(service, OTHERS, "spring")
    assert again[1] == outside

    running = service.http.get("/v1/playbooks/spring/pilot").json()
    assert running["report"]["outcome"] == "running"
    assert service.run("pilots")["settled"] == []
    service.run("deliver")
    service.move(timedelta(days=1))
    for user in HAND_LIST[:15]:
        service.order(user, "BACON")
    service.run("push")
    service.move(timedelta(days=7))
    service.run("deliver", "reward")
    settled = service.run("pilots")["settled"]
    assert [(one["version"], one["state"]) for one in settled] == [("spring@1", "live")]

    report = service.http.get("/v1/playbooks/spring/pilot").json()
    assert (report["state"], report["moved_by"]) == ("live", "pilot")
    verdict = report["report"]
    assert verdict["outcome"] == "graduates"
    assert 0.1 < verdict["low"] < verdict["mean"] < verdict["high"]
    assert verdict["rewards"] >= len(HAND_LIST) - 5
    assert "above the floor 0.1" in report["why"]
    took, outside = decided(service, OTHERS, "spring")
    assert not outside
    assert len(took) >= len(OTHERS) - 6
    service.http.post("/v1/playbooks/spring/retire")


def test_it_ends_with_a_report_when_it_is_worse_than_was_expected(service: Running) -> None:
    begin(service, "autumn", plan(share=0.0, floor=0.6, ceiling=0.99))
    decided(service, HAND_LIST, "autumn")
    service.move(timedelta(days=8))
    service.run("deliver", "reward")
    settled = service.run("pilots")["settled"]
    assert [(one["version"], one["state"]) for one in settled] == [("autumn@1", "retired")]
    report = service.http.get("/v1/playbooks/autumn/pilot").json()
    assert report["report"]["outcome"] == "ends"
    assert report["report"]["high"] < 0.6
    took, outside = decided(service, HAND_LIST[:5], "autumn")
    assert not took | outside


def test_a_pause_acts_at_once_and_holds(service: Running) -> None:
    begin(service, "winter", plan(share=0.0))
    assert decided(service, HAND_LIST[:8], "winter")[0]
    paused = service.http.post("/v1/playbooks/winter/pause", json={"why": "complaints"})
    assert paused.json()["state"] == "paused"
    assert not decided(service, HAND_LIST[:8], "winter")[0]
    assert service.http.post("/v1/playbooks/winter/resume").json()["state"] == "pilot"
    assert decided(service, HAND_LIST[:8], "winter")[0]
    service.http.post("/v1/playbooks/winter/retire")
