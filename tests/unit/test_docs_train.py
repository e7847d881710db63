"""The commands and the Python of docs/how-to/train.md run as they stand."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from decision.cli import app

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "train.md").read_text(encoding="utf-8")


def test_the_commands_and_the_python_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (table,) = re.findall(r"```csv\n(.*?)```", TEXT, re.S)
    policy, grid = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    for name, text in (("table.csv", table), ("policy.yaml", policy), ("grid.yaml", grid)):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    commands = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
    # The others need a service's ledger: tests/integration/test_learning_rebuilding.py.
    commands = [command for command in commands if "rebuild" not in command and "var/data" not in command]
    assert len(commands) == 6
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "nextplay"
        if arguments[0] == "tune" and "--processes" not in arguments:
            arguments += ["--processes", "1"]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, (command, result.output, result.exception)
        if "--json" in arguments and arguments[0] == "train":
            assert json.loads(result.stdout).keys() == {"trained_on", "held_out"}
        elif arguments[0] == "evaluate":
            found = json.loads(result.stdout)
            assert found["candidate"] == "from_log@2"
            assert found["estimates"]["dr"]["value"] is not None
        elif "--json" in arguments:
            found = json.loads(result.stdout)
            assert len(found["settings"]) == 6
            assert found["best"].keys() == {"learner.ridge", "exploration.epsilon.floor"}
        elif arguments[0] == "train":
            assert result.output.startswith("trained on 67 rounds\nworth ")
        elif arguments[0] == "tune":
            assert "the first, on rounds that had no part in choosing it:" in result.output
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    exec(code, {})
    assert capsys.readouterr().out == "from_log@2 67 ('x0', 'action=0', 'action=1')\n"
    twice = CliRunner().invoke(app, shlex.split(commands[1])[1:])
    assert "is there already" in str(twice.exception)
