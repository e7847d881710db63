"""Story 19: an operator stops one user, playbook, channel or everything; resuming goes on where it was."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from tests.acceptance.driver import Running
from tests.faults.alterations import HAND_OVERS, HandOver
from tests.faults.harness import Harness
from tests.faults.stores import Store
from tests.launching import launcher


@pytest.fixture(scope="module")
def service(operated: Running) -> Iterator[Running]:
    """At noon of a working day, with nothing stopped before and after."""
    later = (operated.now + timedelta(days=1)).replace(hour=11, minute=0)
    operated.move(later - operated.now)
    yield operated
    assert stopped(operated) == []


def stopped(service: Running) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.http.get("/v1/controls").json()["controls"]
    return found


def stop(service: Running, scope: str, target: str = "", mode: str = "pause") -> dict[str, Any]:
    body = {"scope": scope, "target": target, "mode": mode, "why": "complaints about the code"}
    response = service.http.post("/v1/controls", json=body)
    assert response.status_code == 201, response.text
    done: dict[str, Any] = response.json()
    return done


def resume(service: Running, scope: str, target: str = "") -> None:
    response = service.http.delete(
        "/v1/controls", params={"scope": scope, "target": target, "why": "settled"}
    )
    assert response.status_code == 200, response.text


def buyers(service: Running, number: int) -> list[str]:
    users = [f"buyer-{uuid4().hex[:10]}" for _ in range(number)]
    for user in users:
        service.order(user, "COFFEE", days_ago=3)
    service.run("push", "features", "audiences")
    return users


def test_a_playbook_a_channel_a_user_and_everything_stop_and_go_on(service: Running) -> None:
    ann, bob = buyers(service, 2)
    for scope, target in (("channel", "mailbox"), ("user", ann), ("everything", "")):
        decided = [service.acting_decision(user) for user in (ann, bob)]
        before = [len(service.mails_to(user)) for user in (ann, bob)]
        stop(service, scope, target)
        service.run("deliver")
        sent = [len(service.mails_to(user)) - had for user, had in zip((ann, bob), before, strict=True)]
        assert sent == ([0, 1] if scope == "user" else [0, 0]), scope
        (one,) = stopped(service)
        assert (one["scope"], one["mode"], one["why"]) == (scope, "pause", "complaints about the code")
        assert sum(one["waiting"].values()) == (1 if scope == "user" else 2)
        # Decided for the stopped: nothing, under the rule of the control.
        if scope != "channel":
            answer = service.decide(ann).json()
            assert answer["offer"] is None
            assert answer["suppressed"][f"control.{scope}"]
        resume(service, scope, target)
        service.run("deliver")
        sent = [len(service.mails_to(user)) - had for user, had in zip((ann, bob), before, strict=True)]
        assert sent == [1, 1], scope
        assert len({one["decision_id"] for one in decided}) == 2
        assert stopped(service) == []
    changes = [one for one in service.history(ann) if one["kind"] == "change"]
    assert [one["label"] for one in changes] == ["control", "control"]


def test_a_paused_playbook_is_not_decided_and_its_runs_wait_with_what_happened(service: Running) -> None:
    (ann,) = buyers(service, 1)
    answer = service.acting_decision(ann)
    service.run("deliver")
    playbook = answer["playbook"]
    stop(service, "playbook", playbook)
    again = service.decide(ann).json()
    assert again["suppressed"][f"control.playbook.{playbook}"] == [playbook]
    assert again["playbook"] != playbook
    # Bought while it was stopped; the fortnight passes.
    service.move(timedelta(days=1))
    category = answer["offer"]["attributes"]["category"]
    service.order(ann, category)
    service.run("deliver")
    service.move(timedelta(days=20))
    service.run("deliver")

    def ended() -> list[dict[str, Any]]:
        return [one for one in service.history(ann) if one["kind"] == "enrolment" and one["label"] == "ended"]

    assert not [one for one in ended() if one["body"]["playbook"] == playbook]
    (one,) = stopped(service)
    assert one["waiting"]["runs"] >= 1
    resume(service, "playbook", playbook)
    service.run("deliver")
    mine = [one for one in ended() if one["body"]["decision"] == answer["decision_id"]]
    assert [one["body"]["result"] for one in mine] == ["used"]
    used = [one for one in service.history(ann) if (one["kind"], one["label"]) == ("coupon", "used")]
    # Another playbook may have given her a coupon for the same meanwhile.
    assert [one["body"]["decision"] for one in used].count(answer["decision_id"]) == 1


def test_a_drained_playbook_begins_nothing_and_ends_what_it_began(service: Running) -> None:
    (ann,) = buyers(service, 1)
    answer = service.acting_decision(ann)
    playbook = answer["playbook"]
    stop(service, "playbook", playbook, "drain")
    service.run("deliver")
    assert len(service.mails_to(ann)) == 1
    assert f"control.playbook.{playbook}" in service.decide(ann).json()["suppressed"]
    resume(service, "playbook", playbook)
    service.run("deliver")
    assert f"control.playbook.{playbook}" not in service.decide(ann).json()["suppressed"]


def test_what_is_not_there_and_what_is_not_stopped_is_said(service: Running) -> None:
    def refused(body: dict[str, Any]) -> tuple[int, str]:
        response = service.http.post("/v1/controls", json={"why": "x", **body})
        return response.status_code, response.text

    status, text = refused({"scope": "playbook", "target": "welcom"})
    assert status == 404
    assert "there is no playbook 'welcom', did you mean 'welcome'?" in text
    status, text = refused({"scope": "channel", "target": "mailbx"})
    assert status == 404
    assert "did you mean 'mailbox'?" in text
    assert refused({"scope": "user", "target": "nobody-at-all"})[0] == 404
    status, text = refused({"scope": "playbook"})
    assert status == 422
    assert "need a `target`" in text
    assert refused({"scope": "everything", "target": "x"})[0] == 422
    assert refused({"scope": "everything", "why": ""})[0] == 422
    gone = service.http.delete("/v1/controls", params={"scope": "playbook", "target": "welcome"})
    assert gone.status_code == 404
    assert "is not stopped" in gone.json()["detail"]
    assert stopped(service) == []


def test_a_stop_in_one_process_holds_in_the_executor_of_another(tmp_path: Path, postgres_url: str) -> None:
    store = Store(postgres_url)
    harness = Harness(launcher(), store, tmp_path, seed="stop", alterations=["very_slow_hand_overs"])
    harness.ask(40)

    def handed_over() -> list[HandOver]:
        noted = tmp_path / HAND_OVERS
        lines = noted.read_bytes().splitlines() if noted.exists() else []
        return [msgspec.json.decode(line, type=HandOver) for line in lines]

    with harness.beside() as second, harness.connect() as first:
        delivering = threading.Thread(target=lambda: second.post("/v1/jobs/deliver").raise_for_status())
        delivering.start()
        while len(handed_over()) < 3:
            assert delivering.is_alive()
            time.sleep(0.01)
        body = {"scope": "everything", "target": "", "mode": "pause", "why": "a wrong code"}
        assert first.post("/v1/controls", json=body).status_code == 201
        stopped_at = time.monotonic_ns()
        delivering.join()
        before = handed_over()
        assert max(one.at for one in before) - stopped_at < 1e9
        # Not one more while it is stopped, whoever delivers.
        for http in (first, second):
            http.post("/v1/jobs/deliver").raise_for_status()
        assert len(handed_over()) == len(before)
        (control,) = second.get("/v1/controls").json()["controls"]
        assert control["waiting"]["messages"] > 0
        wanted = {"scope": "everything", "target": "", "why": "settled"}
        assert second.delete("/v1/controls", params=wanted).status_code == 200
        first.post("/v1/jobs/deliver").raise_for_status()
        after = [one.key for one in handed_over()]
        assert len(after) == len(set(after)) == len(before) + control["waiting"]["messages"]
    assert not harness.close()
