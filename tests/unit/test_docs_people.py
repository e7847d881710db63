"""The commands of docs/how-to/people.md are commands, with options that there are; its flow is read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from decision.cli import app
from delivery.people.answering import Answer
from delivery.people.report import Tally
from playbooks.flow import Task

DOCS = Path(__file__).parents[2] / "docs"
HOW_TO = (DOCS / "how-to" / "people.md").read_text(encoding="utf-8")
PAGE = (DOCS / "reference" / "people.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", HOW_TO, re.S) for line in block.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_run(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXTPLAY_KEY", "np_" + "0" * 12 + "_" + "0" * 43)
    # A port where nobody listens, also beside a service on its own.
    result = CliRunner().invoke(app, shlex.split(command.replace(":8321", ":9"))[1:])
    said = "no service answers" if "--url" in command else "there is no database"
    assert said in str(result.exception), (result.output, result.exception)
    assert list(tmp_path.iterdir()) == []


def test_the_examples_are_read() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", HOW_TO, re.S)
    assert Task.model_validate(yaml.safe_load(block)["call"]).assign == "owner"
    (answer,) = re.findall(r"```json\n(.*?)```", PAGE, re.S)
    assert msgspec.json.decode(answer, type=Answer).result == "won"
    rows = PAGE.split("| count | of tasks that |")[1].split("\n\n")[0]
    counts = {
        name
        for line in rows.splitlines()
        for name in re.findall(r"`(\w+)`", line.split("|")[1:2][0] if "|" in line else "")
    }
    assert counts == {field.name for field in msgspec.structs.fields(Tally)}
