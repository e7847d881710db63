"""The demo: its data is what it says, and one seed gives one result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from decision.demo import run as demo_run
from decision.demo.client import EVENTS_PER_BATCH, batches
from decision.demo.data import DECISION_WEEKS, LAST_QUARTER, CompleteJourney, start_of_week
from decision.demo.measure import read_truth
from decision.demo.run import PLACEMENT, Year, prepare, progress_bars, replay_year
from decision.settings import Settings
from feature_repo.specs import load_specs
from playbooks.library import read_library
from storage.engine import Database
from tests.launching import running_service

WEEKS = (14, 16, 18)
HOUSEHOLDS = 80


@pytest.fixture(scope="module")
def journey() -> CompleteJourney:
    return CompleteJourney()


@pytest.fixture(scope="module")
def some() -> CompleteJourney:
    return CompleteJourney(households=HOUSEHOLDS)


@pytest.fixture(autouse=True, scope="module")
def forking() -> Iterator[None]:
    """Services fork with all imported, as in other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_run, "running_service", running_service)
        yield


def run(some: CompleteJourney, folder: Path) -> tuple[Year, dict[str, Any]]:
    with progress_bars() as progress:
        return replay_year(some, folder, "a seed", progress, WEEKS)


@pytest.fixture(scope="module")
def first(
    some: CompleteJourney, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Year, dict[str, Any]]:
    folder = prepare(tmp_path_factory.mktemp("first") / "demo", fresh=False)
    return folder, *run(some, folder)


def test_the_baselines_are_the_known_ones(journey: CompleteJourney) -> None:
    baselines = journey.baselines(LAST_QUARTER)
    assert len(journey.households) == 2469
    assert journey.line_count == 1_469_307
    assert round(baselines.uniform, 3) == 0.107
    assert round(baselines.best_constant, 3) == 0.162
    assert round(baselines.frequent_category, 3) == 0.315
    assert round(baselines.oracle, 3) == 0.618


def test_the_arms_are_the_ranked_categories(journey: CompleteJourney, tmp_path: Path) -> None:
    assert list(load_specs().vocabularies["arm_category"]) == journey.categories
    draft = read_library(prepare(tmp_path / "demo", fresh=False) / "library")
    assert [offer.attributes["category"] for offer in draft.offers.values()] == journey.categories


def test_weeks_begin_when_the_datas_weeks_begin(journey: CompleteJourney) -> None:
    for week in (10, 11, 12, 44, 45, 46):
        messages = list(journey.orders(week, week + 1))
        assert start_of_week(week) <= messages[0]["timestamp"]
        assert messages[-1]["timestamp"] < start_of_week(week + 1)


def test_a_basket_keeps_its_lines(some: CompleteJourney) -> None:
    message = next(some.orders(1, 2))
    properties = message["properties"]
    assert message["userId"] in {str(household) for household in some.households}
    assert properties["value"] == pytest.approx(sum(line["value"] for line in properties["lines"]))
    assert properties["categories"] == sorted({line["category"] for line in properties["lines"]})


def test_batches_hold_every_message_once(some: CompleteJourney) -> None:
    sizes = [size for size, _ in batches(some.orders(1, 20))]
    assert sum(sizes) == sum(1 for _ in some.orders(1, 20))
    assert max(sizes) <= EVENTS_PER_BATCH


def test_every_household_is_decided_at_each_fortnight(
    first: tuple[Path, Year, dict[str, Any]], some: CompleteJourney
) -> None:
    _, year, summary = first
    assert summary["users"] == HOUSEHOLDS
    assert summary["decisions"] == HOUSEHOLDS * len(WEEKS)
    assert summary["fallbacks"] == {}
    offers = summary["offers"]
    assert offers["issued"] == offers["used"] + offers["expired"] == summary["enrolments"]
    assert summary["messages"]["delivered"] == summary["messages"]["sent"] == summary["enrolments"]
    assert summary["rewards"]["matured"] == summary["decisions"]
    assert summary["changes"]["policy_published"] == 1 + len(WEEKS)
    assert {week for week, _ in year.audience_sizes} == set(WEEKS)


def test_rewards_are_what_the_households_really_bought(
    first: tuple[Path, Year, dict[str, Any]], some: CompleteJourney
) -> None:
    folder, _, summary = first
    database = Database(Settings(data=folder).url)
    truth = read_truth(database, some)
    database.close()
    assert summary["rewards"]["mean"] == pytest.approx(truth.value(WEEKS))
    assert summary["offers"]["used"] == sum(truth.used[week].sum() for week in WEEKS)


def test_two_runs_agree(
    first: tuple[Path, Year, dict[str, Any]], some: CompleteJourney, tmp_path: Path
) -> None:
    _, year, summary = first
    again_year, again = run(some, prepare(tmp_path / "demo", fresh=False))
    assert again == summary
    assert again_year.audience_sizes == year.audience_sizes
    for week in WEEKS:
        chosen = [(answer["variant"], answer["propensity"]) for answer in year.answers[week]]
        assert chosen == [(answer["variant"], answer["propensity"]) for answer in again_year.answers[week]]


def test_the_placement_is_the_librarys(tmp_path: Path) -> None:
    draft = read_library(prepare(tmp_path / "demo", fresh=False) / "library")
    assert {playbook.placement for playbook in draft.playbooks} == {PLACEMENT}
    assert DECISION_WEEKS[0] == 14
