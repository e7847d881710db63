"""Story 10: a user is eligible for seven playbooks; one is left, the answer explains the other six."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from decision.cli import app
from decision.demo.run import LIBRARY
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running
from tests.launching import running_service

CONSTRAINTS = """
- {id: once_a_week, limit: 1, window: P7D, for: {labels: [weekly]}}
- {kind: cool_down, id: bought, after: conversion, lasts: P2D, for: {labels: [restful]}}
- {kind: budget, id: today, amount: 8.00 EUR, period: day, for: {labels: [dear]}}
- {kind: eligibility, id: regulars, rule: orders_12w >= 100, for: {labels: [regulars]}}
- {kind: group, id: spring, labels: [spring]}
"""
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "policy.md"
# In the order in which they would be given.
PLAYBOOKS: dict[str, dict[str, Any]] = {
    "weekly_treat": {"priority": 90, "labels": ["weekly"]},
    "dear_coupon": {"priority": 80, "labels": ["dear"]},
    "after_rest": {"priority": 70, "labels": ["restful"]},
    "for_regulars": {"priority": 60, "labels": ["regulars"]},
    "spring_offer": {"priority": 50, "labels": ["spring"]},
    "spring_twin": {"priority": 40, "labels": ["spring"]},
    "plain_offer": {"priority": 10},
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service whose library has seven playbooks for everybody."""
    data = tmp_path_factory.mktemp("many")
    shutil.copytree(LIBRARY, data / "library")
    folder = data / "library" / "playbooks"
    document = yaml.safe_load((folder / "everyone.yaml").read_text())
    for path in folder.glob("*.yaml"):
        path.unlink()
    variants = [{"offer": "dear", "channel": "mailbox", "content": "offer_notice"}]
    for name, given in PLAYBOOKS.items():
        plan = document | {"id": name, "name": name, "constraints": [], "variants": variants} | given
        plan["goal"] = {"event": "order_completed", "window": "P14D"}
        plan["flow"]["states"]["wait_for_use"].pop("where", None)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(plan))
    dear = {"id": "dear", "name": "Dear", "kind": "fixed_amount", "value": "8.00 EUR"}
    (data / "library" / "offers.yaml").write_text(yaml.safe_dump([dear]))
    (data / "library" / "constraints.yaml").write_text(CONSTRAINTS)
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)


def test_one_is_left_and_each_other_is_explained(service: Running, user: str) -> None:
    other = f"{user}-other"
    service.order(user, "COFFEE", days_ago=5)
    service.order(other, "COFFEE", days_ago=5)
    service.run("features", "audiences")
    # What each gets first; with it the other's week and the day's budget are used up.
    assert service.acting_decision(user)["playbook"] == "weekly_treat"
    assert [service.acting_decision(other)["playbook"] for _ in range(2)] == ["weekly_treat", "dear_coupon"]
    service.order(user, "BACON")

    answer = service.acting_decision(user)
    assert answer["playbook"] == "spring_offer"
    assert answer["suppressed"] == {
        "cap.once_a_week": ["weekly_treat"],
        "budget.today": ["dear_coupon"],
        "cool_down.bought": ["after_rest"],
        "eligibility.regulars": ["for_regulars"],
        "group.spring": ["spring_twin"],
        "priority": ["plain_offer"],
    }
    record = service.http.get(f"/v1/decisions/{answer['decision_id']}").json()
    assert record["constraints"] == service.http.get("/v1/constraints").json()["version"] == 1
    assert record["features"]["orders_12w"] == 1
    assert record["uses"] == {"cap.once_a_week": 1}
    assert record["circumstances"]["levels"] == {"budget.today@2026-03-02": 800}
    (budget,) = service.http.get("/v1/budgets").json()
    assert (budget["rule"], budget["limit"], budget["taken"]) == ("budget.today", 800, 800)
    # 9:00 UTC; nothing says what money is worth here, so nothing is paced.
    assert budget["elapsed"] == pytest.approx(9 / 24)
    assert (budget["shadow_price"], budget["one_percent_more"]) == (0.0, None)
    assert set(record["circumstances"]["events"]) == {"order_completed"}
    replayed = service.http.post(f"/v1/decisions/{answer['decision_id']}/replay").json()
    assert replayed["identical"] is True

    # A new day has a new budget; the rest after the order and the week are not over.
    service.run("deliver")
    service.move(timedelta(days=1))
    tomorrow = service.acting_decision(user)
    assert tomorrow["playbook"] == "dear_coupon"
    assert set(tomorrow["suppressed"]) == {
        "cap.once_a_week",
        "cool_down.bought",
        "eligibility.regulars",
        "group.spring",
        "priority",
    }


def test_what_is_wrong_is_told_and_changes_nothing(service: Running) -> None:
    before = service.http.get("/v1/constraints").json()
    wrong = [
        {"kind": "cap", "id": "a", "limit": 1, "window": "PT0S"},
        {"kind": "budget", "id": "b", "amount": "-1.00 EUR", "period": "day"},
        {"kind": "cap", "id": "c", "limt": 1, "window": "day"},
    ]
    refused = service.http.post("/v1/library/import", json={"constraints": wrong})
    assert refused.status_code == 422
    problems = {one["field"]: one["message"] for one in refused.json()["problems"]}
    assert "a window must be longer than nothing" in problems["0.cap.window"]
    assert "must not be negative" in problems["1.budget.amount"]
    assert "did you mean 'limit'?" in problems["2.cap.limt"]
    unknown = [
        {"id": "d", "limit": 1, "window": "day", "for": {"playbooks": ["spring_ofer"]}},
        {"kind": "eligibility", "id": "e", "rule": "in_audience('lapsin')"},
        {"kind": "budget", "id": "f", "amount": "5.00 USD", "period": "day"},
    ]
    refused = service.http.post("/v1/library/import", json={"constraints": unknown})
    problems = {one["field"]: one["message"] for one in refused.json()["problems"]}
    assert "did you mean 'spring_offer'?" in problems["0.for.playbooks"]
    assert 'did you mean "lapsing"?' in problems["1.rule"]
    assert "costs money in EUR, the amount is 5.00 USD" in problems["2.amount"]
    assert service.http.get("/v1/constraints").json() == before


def test_what_money_costs_is_changed_in_flight(service: Running, user: str) -> None:
    service.order(user, "COFFEE", days_ago=5)
    service.run("features", "audiences")
    shown = service.http.get("/v1/shaping")
    before = shown.json()
    assert (before["guards"], before["costs"]) == ([], {})
    wrong = {"guards": [{"loyal": "lapsed", "newer": "lapsing"}], "costs": {}}
    refused = service.http.put("/v1/shaping", json=wrong)
    assert refused.status_code == 422
    (problem,) = refused.json()["problems"]
    assert (problem["field"], "no audience 'lapsed'" in problem["message"]) == ("guards.0.loyal", True)
    for costs in ({"EUR": -1}, {"EURO": 1}, {"EUR": "dear"}):
        assert service.http.put("/v1/shaping", json={"guards": [], "costs": costs}).status_code == 422
    assert service.http.put("/v1/shaping", json={"costs": {}}).status_code == 422
    assert service.http.get("/v1/shaping").json() == before

    # So dear that nothing that costs money is worth giving: the next answer knows it.
    dear = {"guards": [], "costs": {"EUR": 0.01}, "why": "money is scarce"}
    changed = service.http.put("/v1/shaping", json=dear, headers={"If-Match": shown.headers["ETag"]})
    assert (changed.status_code, changed.json()["costs"]) == (200, {"EUR": 0.01})
    late = service.http.put("/v1/shaping", json=dear, headers={"If-Match": shown.headers["ETag"]})
    assert (late.status_code, late.json()["etag"]) == (412, changed.headers["ETag"])
    answer = service.decide(user).json()
    record = service.http.get(f"/v1/decisions/{answer['decision_id']}").json()
    assert max(record["costs"]) == pytest.approx(0.01 * 800)
    assert service.http.post(f"/v1/decisions/{answer['decision_id']}/replay").json()["identical"] is True
    (budget,) = service.http.get("/v1/budgets").json()
    assert budget["one_percent_more"] is not None
    (change,) = service.http.get("/v1/changes?what=setting").json()["changes"]
    assert (change["thing"], change["before"], change["after"]) == ("policy.yaml costs", {}, {"EUR": 0.01})
    assert (change["cause"], change["actor"]) == ("money is scarce", "person")
    assert (change["undo"], change["by"]) == ("restore", "settings")
    undone = service.http.post(f"/v1/changes/{change['id']}/undo", json={"why": "it is not"}).json()
    assert (undone["thing"], undone["before"], undone["after"]) == ("policy.yaml costs", {"EUR": 0.01}, {})
    assert undone["cause"] == f"takes back {change['id']}: it is not"
    assert service.http.get("/v1/shaping").json()["costs"] == {}
    again = service.http.post(f"/v1/changes/{change['id']}/undo")
    assert (again.status_code, "other costs hold by now" in again.json()["detail"]) == (409, True)


def test_guards_and_costs_are_changed_from_the_command_line(service: Running, tmp_path: Path) -> None:
    url, key = str(service.http.base_url), service.http.headers["authorization"].removeprefix("Bearer ")

    def nextplay(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--url", url, "--key", key])

    (commands,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    for line in commands.replace("http://127.0.0.1:8321", url).splitlines():
        command, _, target = line.partition(" > ")
        arguments = [
            str(tmp_path / one) if one == "shaping.yaml" else one for one in shlex.split(command)[1:]
        ]
        done = CliRunner().invoke(app, [*arguments, "--key", key])
        assert done.exit_code == 0, (command, done.output, done.exception)
        if target:
            (tmp_path / target).write_text(done.output)
    assert service.http.get("/v1/shaping").json()["costs"] == {"EUR": 0.0003}
    (change,) = service.http.get("/v1/changes?what=setting&limit=1").json()["changes"]
    service.http.post(f"/v1/changes/{change['id']}/undo")

    shown = nextplay("policies", "shaping").output
    before = yaml.safe_load(shown)
    assert before == service.http.get("/v1/shaping").json()
    file = tmp_path / "shaping.yaml"
    file.write_text(shown)
    unchanged = f"version {before['version']} says so already\n"
    assert nextplay("policies", "shape", str(file)).output == unchanged

    dearer = nextplay("policies", "shape", "--cost", "EUR=0.0003", "--why", "margins have fallen")
    assert dearer.output == f"guards and costs are version {before['version'] + 1}\n"
    stale = nextplay("policies", "shape", str(file), "--why", "as it was")
    assert (stale.exit_code, "read them again" in str(stale.exception)) == (1, True)
    # Without its version a file holds whatever was there; what it leaves out stays.
    file.write_text("guards: [{loyal: in_stage_regular, newer: lapsing}]")
    wrong = nextplay("policies", "shape", str(file), "--why", "a guard")
    assert (wrong.exit_code, "no audience 'in_stage_regular'" in str(wrong.exception)) == (1, True)
    file.write_text("guards: [{loyal: high_value, newer: lapsing}]")
    assert nextplay("policies", "shape", str(file), "--why", "a guard").exit_code == 0
    holds = service.http.get("/v1/shaping").json()
    assert (holds["guards"], holds["costs"]) == (
        [{"loyal": "high_value", "newer": "lapsing"}],
        {"EUR": 0.0003},
    )
    for content in ("cost: {EUR: 1}", "[]", "costs: [1"):
        file.write_text(content)
        assert nextplay("policies", "shape", str(file)).exit_code == 1
    for wrong_arguments in ((), ("--cost", "EUR"), ("--cost", "EUR=nan"), (str(tmp_path / "none"),)):
        assert nextplay("policies", "shape", *wrong_arguments).exit_code == 1
    assert service.http.get("/v1/shaping").json() == holds

    listed = nextplay("changes", "list", "--what", "setting", "--limit", "2", "--json").output
    guard, costs = json.loads(listed)["changes"]
    assert (guard["cause"], costs["cause"]) == ("a guard", "margins have fallen")
    # The guard is left alone where the costs of before are taken back.
    told = nextplay("changes", "undo", costs["id"], "--why", "they have not").output
    assert told.startswith("setting policy.yaml costs: {}, change ")
    assert nextplay("changes", "undo", guard["id"]).exit_code == 0
    left = service.http.get("/v1/shaping").json()
    assert (left["guards"], left["costs"]) == (before["guards"], before["costs"])


def test_publishing_tells_what_lint_finds(service: Running) -> None:
    plan = service.http.get("/v1/playbooks/plain_offer").json()["document"]
    dearer = plan | {"constraints": [{"kind": "budget", "id": "tiny", "amount": "1.00 EUR", "period": "day"}]}
    assert service.http.put("/v1/playbooks/plain_offer/draft", json=dearer).status_code == 200
    published = service.http.post("/v1/playbooks/plain_offer/publish").json()
    assert published["state"] == "live"
    assert "dear: one use takes more than budget.plain_offer.tiny has in all" in str(published["warnings"])
