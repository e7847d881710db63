"""The files and commands of docs/how-to/promotion.md are right as they stand."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from decision.cli import app
from decision.demo.run import LIBRARY
from learning.challengers.reading import read_challengers, read_promotion
from learning.challengers.rules import PromotionRules
from learning.errors import PolicySpecError
from learning.spec import read_spec
from playbooks.errors import LibraryError

# A port where nobody listens.
TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "promotion.md").read_text().replace(":8321", ":9")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The demo's library with the files of the page."""
    made = shutil.copytree(LIBRARY, tmp_path / "library")
    for name, text in re.findall(r"```yaml\n# (\S+)\n(.*?)```", TEXT, re.S):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)
    return made


def test_the_files_are_read(folder: Path) -> None:
    (bolder,) = read_challengers(folder, read_spec(folder / "policy.yaml")).values()
    assert bolder.id == "bolder"
    rules = read_promotion(folder)
    assert rules.promotion == "automatic"
    assert set(rules.guards.margins) == {"complaints", "opt_outs", "cost", "margin"}
    assert rules.guards.margins["cost"] == 10
    for name in PromotionRules.model_fields:
        assert f"| `{name}` |" in TEXT


def test_the_commands_run() -> None:
    block = "".join(re.findall(r"```sh\n(.*?)```", TEXT, re.S))
    commands = block.strip().splitlines()
    assert len(commands) == 5
    for command in commands:
        _, *arguments = shlex.split(command)
        result = CliRunner().invoke(app, [*arguments, "--key", "np_x"])
        assert "no service answers" in str(result.exception), command


@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        ("id: bolder", "id: next_category", "'next_category' is the policy of policy.yaml"),
        ("placements: [outbound]", "placements: [home]", r"write \[outbound\]"),
        ("id: bolder", "id: bolder\nreward: {low: 0, high: 5}", "from 0 to 1; write the same"),
        ("id: bolder", "id: bolder\ncosts: {EUR: 0.01}", "costs: they hold for whoever is in charge"),
    ],
)
def test_a_challenger_that_does_not_fit_is_refused(folder: Path, line: str, instead: str, said: str) -> None:
    path = folder / "policies" / "challengers" / "bolder.yaml"
    path.write_text(path.read_text().replace(line, instead))
    with pytest.raises(PolicySpecError, match=said):
        read_challengers(folder, read_spec(folder / "policy.yaml"))


def test_rules_that_are_wrong_are_refused(folder: Path) -> None:
    (folder / "promotion.yaml").write_text("{promotion: never, guards: {cost: 5}}")
    with pytest.raises(LibraryError, match=r"promotion\.yaml") as refused:
        read_promotion(folder)
    assert "guards.cost" in str(refused.value)
