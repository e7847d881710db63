"""Story 14: controls are decided for like others; so are erased users, and by what is whole of a policy."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from decision.demo.run import LIBRARY
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running
from tests.launching import running_service

UNIVERSAL, OWN = 0.2, 0.4
USERS = [f"shopper-{number}" for number in range(40)]
GONE = "gone"


class Restarted:
    """A service that is stopped and started again over its folder."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._opened = ExitStack()

    def start(self, clock: datetime) -> Running:
        running = running_service(self.data, clock=clock, seed="test", log=self.data / "service.log")
        return Running(self._opened.enter_context(running).http, self.data, clock)

    def stop(self) -> None:
        self._opened.close()


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restarted]:
    """A service that holds a fifth out from all, and four in ten of the others from one playbook."""
    data = tmp_path_factory.mktemp("held")
    shutil.copytree(LIBRARY, data / "library")
    for path in (data / "library" / "playbooks").glob("*.yaml"):
        if path.stem != "everyone":
            path.unlink()
    everyone = data / "library" / "playbooks" / "everyone.yaml"
    plan = yaml.safe_load(everyone.read_text())
    everyone.write_text(yaml.safe_dump(plan | {"holdout": OWN}))
    large = {"id": "large", "name": "For large baskets", "priority": 10}
    rules = {"applicability": "context.basket >= 50 AND coalesce(context.country, 'DE') IN ('DE', 'AT')"}
    everyone.with_name("large.yaml").write_text(yaml.safe_dump(plan | large | {"rules": rules}))
    policy = yaml.safe_load((data / "library" / "policy.yaml").read_text())
    told = {"basket": "number", "country": "text", "shelf": ["top", "low"]}
    policy |= {"context": told, "features": [*policy["features"], {"scalar": "basket", "scale": 0.01}]}
    (data / "library" / "policy.yaml").write_text(yaml.safe_dump(policy))
    (data / "settings.env").write_text(f"NEXTPLAY_HOLDOUT={UNIVERSAL}\n")
    made = Restarted(data)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def service(restarted: Restarted) -> Running:
    """The service, with users of whom features are known."""
    running = restarted.start(START)
    for user in (*USERS, GONE):
        running.order(user, "COFFEE", days_ago=3)
    running.run("features", "audiences")
    return running


def test_controls_are_decided_for_logged_and_replayed_like_others(service: Running) -> None:
    answers = {user: service.decide(user).json() for user in USERS}
    held: dict[str, set[str]] = {"holdout": set(), "holdout.everyone": set()}
    for user, answer in answers.items():
        assert answer["fallback"] is None
        record = service.http.get(f"/v1/decisions/{answer['decision_id']}").json()
        assert record.get("holdout", []) == answer["holdout"]
        assert record.keys() >= {"features", "draw", "probabilities"}
        assert (record["policy"], record["propensity"]) == (answer["policy"], answer["propensity"])
        for rule in answer["holdout"]:
            held[rule].add(user)
            assert answer["suppressed"][rule] == ["everyone"]
            assert (answer["variant"], answer["offer"], answer["propensity"]) == ("do_nothing", None, 1.0)
    assert not held["holdout"] & held["holdout.everyone"]
    # Eight and thirteen of forty are expected.
    assert 2 <= len(held["holdout"]) <= 17
    assert 4 <= len(held["holdout.everyone"]) <= 24
    controls = [*sorted(held["holdout"])[:2], *sorted(held["holdout.everyone"])[:2]]
    for user in (*controls, next(one for one in USERS if not answers[one]["holdout"])):
        decision = answers[user]["decision_id"]
        assert service.http.post(f"/v1/decisions/{decision}/replay").json()["identical"] is True
        # One fact of the user, like anybody's.
        assert [one["id"] for one in service.history(user) if one["kind"] == "decision"] == [decision]
        # Whoever is held out is so for good.
        assert service.decide(user).json()["holdout"] == answers[user]["holdout"]


def test_a_rule_asks_for_what_the_request_tells(service: Running) -> None:
    def told(user: str, **context: float | str) -> dict[str, Any]:
        asked = {"user_id": user, "placement": "outbound", "context": context}
        answer: dict[str, Any] = service.http.post("/v1/decide", json=asked).json()
        return answer

    user = next(one for one in USERS if "holdout" not in told(one)["holdout"])
    answer = told(user, basket=50)
    assert (answer["playbook"] or "large", answer["suppressed"]["priority"]) == ("large", ["everyone"])
    record = service.http.get(f"/v1/decisions/{answer['decision_id']}").json()
    assert record["features"]["context.basket"] == record["features"]["basket"] == 50
    assert service.http.post(f"/v1/decisions/{answer['decision_id']}/replay").json()["identical"] is True
    answer = told(user, basket=50, country="AT")
    assert (answer["playbook"] or "large", answer["suppressed"]["priority"]) == ("large", ["everyone"])
    record = service.http.get(f"/v1/decisions/{answer['decision_id']}").json()
    assert record["features"]["context.country"] == "AT"
    assert service.http.post(f"/v1/decisions/{answer['decision_id']}/rescore").json()["agrees"] is True
    for name, wrong_value, what in [
        ("country", 49, "context.country: this must be text or null, not 49"),
        ("basket", "much", "context.basket: this must be a number, true, false or null, not 'much'"),
        ("shelf", "tip", "context.shelf: the policy knows no 'tip' there, did you mean 'top'?"),
    ]:
        asked = {"user_id": user, "placement": "outbound", "context": {name: wrong_value}}
        problem = service.http.post("/v1/decide", json=asked).json()
        assert (problem["status"], problem["detail"]) == (422, what)
    long = {"user_id": user, "placement": "outbound", "context": {"country": "D" * 201}}
    assert "length <= 200" in service.http.post("/v1/decide", json=long).json()["detail"]
    for context in ({"basket": 49.0}, {"basket": 50, "country": "FR"}, {}):
        assert told(user, **context)["suppressed"]["applicability.large"] == ["large"]
    wrong = {"kind": "applicability", "id": "large", "rule": "context.baskets >= 50"}
    refused = service.http.post("/v1/library/validate", json={"constraints": [wrong]}).json()
    (problem,) = refused["problems"]
    assert 'unknown feature "context.baskets", did you mean "context.basket"?' in problem["message"]
    assert "what `context` of policy.yaml says" in problem["message"]


def test_an_erased_user_is_unknown_and_their_decisions_say_so(service: Running) -> None:
    before = service.decide(GONE).json()
    assert before["fallback"] is None
    assert service.http.delete(f"/v1/users/{GONE}").status_code == 200
    answer = service.decide(GONE).json()
    assert (answer["variant"], answer["fallback"]) == ("do_nothing", "unknown_user")
    for method, what in (("GET", ""), ("POST", "/replay"), ("POST", "/rescore")):
        gone = service.http.request(method, f"/v1/decisions/{before['decision_id']}{what}")
        assert (gone.status_code, gone.json()["type"]) == (410, "urn:nextplay:problem:decision-erased")


def test_a_version_whose_weights_are_cut_short_is_passed_over_and_named(
    service: Running, restarted: Restarted
) -> None:
    service.move(timedelta(days=16))
    service.run("reward", "learn")
    service.run("features", "audiences")
    newest = in_charge(service)
    assert newest != "next_category@1"
    restarted.stop()
    with closing(sqlite3.connect(restarted.data / "nextplay.db")) as database, database:
        half = "UPDATE policies SET weights = substr(weights, 1, length(weights) / 2) WHERE version = ?"
        assert database.execute(half, [newest]).rowcount == 1
    again = restarted.start(service.now)
    assert again.http.get("/ready").status_code == 200
    answer = again.decide(USERS[0]).json()
    assert (answer["policy"], answer["fallback"]) == ("next_category@1", None)
    log = (restarted.data / "service.log").read_text()
    assert newest in log
    assert "damaged" in log


def in_charge(service: Running) -> str:
    """Return the version by which a decision is made."""
    return str(service.decide(USERS[0]).json()["policy"])
