"""Story 9: five face values compete; the profitable one's share grows, exploring stays in its budget."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.market.customers import Market
from benchmarks.market.in_process import LIBRARY, PLACEMENT
from benchmarks.market.over_http import Visiting
from benchmarks.market.parameters import Group, Hidden, Reference, read_parameters
from decision import following
from decision.cli import app
from decision.demo.client import ServiceClient
from decision.scheduling import INTERVALS
from tests.launching import running_service

WEEKS = 4
LIMIT = 1500
# Everybody answers alike, so that a few hundred decisions tell the face values apart: 5.00 EUR earns most.
POLICY = """
id: face_values
placements: [checkout]
reward: {low: -30, high: 120}
costs: {EUR: 0.01}
features: [{one_hot: arm.value}]
prior: {intercept: 3}
learner: {kind: linear_gaussian, per: arm.value, ridge: 1.0}
exploration: {kind: thompson, draws: 200, floor: {start: 0.01, floor: 0.01, half_life: 1000}}
"""


def small_market() -> Market:
    parameters = read_parameters()
    alike = Group(id="regular", share=1.0, margin=(12.0, 0.05), base=-4.0, deal_share=(0.5, 500))
    step = Reference(low=4.0, high=4.0, width=0.25, lift=0.8, insult=0.5, half=0.5)
    forms = parameters.forms.model_copy(update={"reference": step})
    habit = parameters.habit.model_copy(update={"adds": 0.02})
    update = {
        "groups": (alike,),
        "hidden": Hidden(base=0.05, sensitivity=0.02),
        "forms": forms,
        "habit": habit,
    }
    return Market(parameters.model_copy(update=update), "reference", seed=9, customers=84)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data: Path = tmp_path_factory.mktemp("market")
    shutil.copytree(LIBRARY, data / "library")
    (data / "library" / "policy.yaml").write_text(POLICY)
    plan = data / "library" / "playbooks" / "coupons.yaml"
    plan.write_text(plan.read_text().replace("300.00 EUR", "15.00 EUR"))
    return data


def test_which_face_value(library: Path) -> None:
    market = small_market()
    truth = market.worth(0, 1.0)[1:]
    best = int(truth.argmax())
    assert market.values[best] == 5.0
    with running_service(library, clock=market.start, seed="market", log=library / "service.log") as service:
        visiting = Visiting(market, service, at_once=False)
        visiting.introduce()
        spent, shares, before = [], [], visiting.tally.drawn
        for day in visiting.live(range(7 * WEEKS)):
            standing = service.get("/v1/playbooks/coupons/exploration")
            assert (standing["currency"], standing["limit"]) == ("EUR", LIMIT)
            spent.append(standing["spent"])
            if day % 7 == 6:
                drawn = visiting.tally.drawn.copy()
                week = drawn - before if len(before) else drawn
                shares.append(float(week[best] / week.sum()))
                before = drawn
        assert visiting.fallbacks == 0
        # Its share grows: from about a fifth to nearly all.
        assert shares[0] < 0.4
        assert min(shares[-2:]) > 0.6
        # What the floor costs is counted on: a hundredth of a day's twelve decisions loses all that the best
        # value brings, which the policy may think half as much again.
        floor = 0.01 * 12 * 1.5 * float(truth.max()) * 100
        assert max(spent) <= LIMIT + floor
        assert max(spent) > 0
        service.run("reward")
        earned = service.get("/v1/playbooks/coupons/earnings")
        assert earned["decisions"] == visiting.tally.decisions - visiting.tally.idle
        by_value = {one["promised"]: one for one in earned["arms"]}
        assert set(by_value) == {"1.00 EUR", "3.00 EUR", "5.00 EUR", "8.00 EUR", "12.00 EUR"}
        winner = by_value["5.00 EUR"]
        assert winner["decisions"] == visiting.tally.drawn[best]
        # Of orders only: what a coupon cost is its face value.
        assert winner["cost"] % 5 == pytest.approx(0)
        assert winner["net"] == pytest.approx(winner["value"] - winner["cost"])
        low, high = winner["interval"]
        assert low < winner["mean"] < high
        # The truth lies within, habit and fatigue let it drift a little.
        assert low - 1.5 < truth[best] < high + 1.5
        (budget,) = service.get("/v1/budgets")
        assert budget["taken"] <= budget["limit"]
        shown = CliRunner().invoke(
            app,
            ["rewards", "show", "coupons", "--url", str(service.http.base_url), "--key", service.key],
            env={"COLUMNS": "160"},
        )
        assert "net of one" in shown.output, shown.output
        rewards_change_decide(service, market)
        refused = service.http.get("/v1/playbooks/coupon/exploration")
        assert refused.status_code == 404
        assert "did you mean 'coupons'?" in refused.json()["detail"]
        again = service.http.post("/v1/playbooks/coupons/rewards/recompute", json={"version": 7})
        assert again.status_code == 404


def rewards_change_decide(service: ServiceClient, market: Market) -> None:
    """A reward that matured changes decide within two minutes: after one run of each job on its way."""
    closed = 7 * WEEKS

    def scored(key: str) -> tuple[str, list[float]]:
        (made,) = service.decide_all([(market.name(0), PLACEMENT, key)], lambda _: None)
        return made["policy"], service.get(f"/v1/decisions/{made['decision_id']}")["scores"]

    before, scores = scored("before")
    # The windows of a day's decisions close, and the schedule runs what is due, a minute and ten seconds on.
    service.move_clock(market.start + timedelta(days=closed))
    assert INTERVALS["reward"] + INTERVALS["learn"] + following.INTERVAL < 120
    service.move_clock(market.start + timedelta(days=closed, seconds=INTERVALS["reward"]))
    service.run("reward")
    service.move_clock(
        market.start + timedelta(days=closed, seconds=INTERVALS["reward"] + INTERVALS["learn"])
    )
    service.run("learn")
    after, others = scored("after")
    assert int(after.partition("@")[2]) == int(before.partition("@")[2]) + 1
    assert others != scores
