"""The commands of docs/how-to/playbooks.md run as they stand, and its examples are read."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from decision.cli import app
from decision.demo.run import LIBRARY
from playbooks.library.lifecycle import MOVES
from playbooks.models import Pilot
from tests.migrated import copy_migrated

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "playbooks.md"
# A port where nobody listens, also beside a service on its own.
TEXT = PAGE.read_text(encoding="utf-8").replace(":8321", ":9")


def test_the_commands_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(LIBRARY, tmp_path / "my" / "library")
    (tmp_path / "var" / "mine").mkdir(parents=True)
    copy_migrated(tmp_path / "var" / "mine" / "nextplay.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXTPLAY_LIBRARY", "my/library")
    commands = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
    assert len(commands) >= 15
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "nextplay"
        if "--url" in arguments:
            # Nobody listens: it is the command that is tried.
            arguments += ["--key", "np_x"]
        result = CliRunner().invoke(app, arguments)
        if "--url" in arguments:
            assert "no service answers" in str(result.exception), command
        else:
            assert result.exit_code == 0, (command, result.output, result.exception)


def test_the_pilot_is_one() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    assert Pilot.model_validate(yaml.safe_load(block)["pilot"]).share == 0.05


def test_the_table_has_every_move() -> None:
    assert re.findall(r"^\| `(\w+)` \|", TEXT, re.M) == list(MOVES)
