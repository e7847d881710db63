"""The commands of docs/how-to/stop.md run as they stand, one after the other."""

from __future__ import annotations

import re
import shlex
import shutil
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from audiences.repository import add_users
from decision.cli import app
from decision.demo.run import LIBRARY
from playbooks.protection import Protection
from storage.engine import Database

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "stop.md"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result.output


def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(LIBRARY, tmp_path / "my" / "library")
    data = Path("var/mine")
    data.mkdir(parents=True)
    with closing(Database(f"sqlite:///{data / 'nextplay.db'}")) as database:
        database.write(lambda connection: add_users(connection, [("ann", datetime(2026, 3, 2, tzinfo=UTC))]))
    monkeypatch.setenv("NEXTPLAY_LIBRARY", "my/library")
    run("playbooks", "import", "my/library", "--data", str(data))
    text = PAGE.read_text(encoding="utf-8")
    commands = [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()]
    said = []
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "nextplay"
        said.append(run(*arguments))
    listed = said[4]
    assert "user ann\tpause" in listed
    assert "the prices are wrong\t0 messages and 0 runs wait" in listed
    assert len(listed.splitlines()) == 4
    # The playbook is resumed at the end; a run of the service puts back what waited.
    left = run("controls", "list", "--data", str(data))
    assert "playbook win_back\tresuming" in left


def test_the_thresholds_on_the_page_are_the_defaults() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert Protection.model_validate(yaml.safe_load(block)) == Protection()
