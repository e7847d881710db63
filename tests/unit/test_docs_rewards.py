"""The goal of docs/reference/rewards.md is one, and its commands are commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import yaml
from typer.testing import CliRunner

from decision.cli import app
from playbooks.exploring import ExplorationBudget
from playbooks.goal_documents import Goal

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "reference" / "rewards.md").read_text(encoding="utf-8")
EXPLORING = (DOCS / "how-to" / "exploration-budget.md").read_text(encoding="utf-8")


def test_the_goal_is_one_and_every_field_is_described() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    goal = Goal.model_validate(yaml.safe_load(block)["goal"])
    assert goal.bounds == (-8 - 15 - 20, 120)
    described = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?`) \|", TEXT, re.M))))
    assert described == set(Goal.model_fields)


def test_the_exploration_budget_is_one() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", EXPLORING, re.S)
    budget = ExplorationBudget.model_validate(yaml.safe_load(block)["exploration_budget"])
    assert budget.limit == 5_000_000


def test_the_commands_run() -> None:
    blocks = re.findall(r"```sh\n(.*?)\n```", TEXT + EXPLORING, re.S)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) == 4
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "nextplay"
        # Nobody listens there: it is the command that is tried.
        result = CliRunner().invoke(app, [*arguments, "--url", "http://127.0.0.1:9", "--key", "np_x"])
        assert "no service answers" in str(result.exception)
