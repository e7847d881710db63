"""The market: its customers answer as often as their truth says, and its figures are computed as told."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmarks.market import __main__ as command
from benchmarks.market.customers import FORMS, Form, Market
from benchmarks.market.in_process import LIBRARY, Playing
from benchmarks.market.parameters import read_parameters
from benchmarks.market.tally import Tally

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "market.md"


@pytest.mark.parametrize("form", FORMS)
def test_customers_answer_as_often_as_the_truth_says(form: Form) -> None:
    market = Market(read_parameters(), form, seed=3, customers=1500)
    chances = np.array([market.chances(customer, 0.0)[4] for customer in range(len(market))])
    answers = [market.answer(customer, 0.0, 3) for customer in range(len(market))]
    error = np.sqrt((chances * (1 - chances)).sum()) / len(market)
    assert abs(np.mean([one.ordered for one in answers]) - chances.mean()) < 4 * error
    delays = [one.after.total_seconds() / 86400 for one in answers]
    assert min(delays) >= 0
    assert max(delays) <= 7
    # An order makes the next likelier, a message less likely.
    after = np.array([market.chances(customer, 0.0)[4] for customer in range(len(market))])
    ordered = np.array([one.ordered for one in answers])
    assert (after[ordered] > chances[ordered]).all()
    assert (after[~ordered] < chances[~ordered]).all()


def test_equal_seeds_are_equal_markets_and_the_forms_differ() -> None:
    one, same = (Market(read_parameters(), "logistic", 1, 50) for _ in range(2))
    other = Market(read_parameters(), "reference", 1, 50)
    np.testing.assert_array_equal(one.worth(7, 3.0), same.worth(7, 3.0))
    assert one.answer(7, 3.0, 2) == same.answer(7, 3.0, 2)
    assert not np.allclose(one.worth(8, 3.0)[1:], other.worth(8, 3.0)[1:])


def test_the_way_goes_from_the_best_single_value_to_the_oracle() -> None:
    tally = Tally()
    tally.add(np.array([[0.0, 1.0, 3.0], [0.5, 4.0, 3.0]]), [0, 0])
    tally.add(np.array([[0.5, 1.0, 3.0]]), [None])
    # Single: 9 with the second; oracle 10; policy 1 + 4 + 0.5.
    assert (tally.best_single, tally.oracle, tally.policy) == (9.0, 10.0, 5.5)
    assert tally.way == -3.5


def test_a_run_learns_counts_and_stays_within_its_budgets() -> None:
    playing = Playing(Market(read_parameters(), "logistic", 1, customers=35))
    tally = playing.play(140)
    assert tally.decisions == 140
    assert tally.idle + tally.drawn.sum() == 140
    spent = sum(taken for key, taken in playing.taken.items() if key.startswith("budget."))
    assert spent == round(100 * float(tally.drawn @ playing._market.values))
    assert all(taken <= playing.limits[key] for key, taken in playing.taken.items() if "budget." in key)


def test_blocks_decide_as_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "library"
    shutil.copytree(LIBRARY, folder)
    plan, policy = folder / "playbooks" / "coupons.yaml", folder / "policy.yaml"
    # Without prices that rise with every coupon, and with a budget that is soon spent; without Thompson's
    # ties, whose breaking is a matter of rounding.
    kept = [line for line in plan.read_text().splitlines() if "kind: budget" not in line]
    plan.write_text("\n".join(kept).replace("constraints:", "constraints: []").replace("300.00", "20.00"))
    smooth = "exploration: {kind: softmax, temperature: 5, floor: {start: 0.05, floor: 0.05, half_life: 1}}\n"
    policy.write_text(re.sub(r"exploration: .*\n", smooth, policy.read_text()))
    together, apart = (Playing(Market(read_parameters(), "logistic", 1, 300), folder) for _ in range(2))
    monkeypatch.setattr(apart, "_together", lambda asked, now: iter(()))
    assert together.play(150).drawn.tolist() == apart.play(150).drawn.tolist()
    assert together.taken == apart.taken
    assert 0 < together.tally.narrowed == apart.tally.narrowed < 150


def test_the_command_runs_as_documented() -> None:
    app = typer.Typer()
    app.command()(command.main)
    commands = re.findall(r"```sh\npython -m benchmarks.market (.*?)\n```", DOCS.read_text(encoding="utf-8"))
    assert len(commands) == 2
    small = shlex.split(commands[0].replace("200000", "20").replace("--seeds 20", "--seeds 1"))
    result = CliRunner().invoke(app, small)
    assert result.exit_code == 0, result.output
    assert "form logistic  seed 1  decisions 20" in result.output
    assert "form reference" in result.output
    # Nobody listens there: it is the command that is tried.
    over_http = shlex.split(commands[1].replace(":8321", ":9"))
    assert "got no answer from the service" in str(CliRunner().invoke(app, over_http).exception)
