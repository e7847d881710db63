"""The commands of docs/how-to/flows.md run as they stand; the example of the reference has every kind."""

from __future__ import annotations

import re
import shlex
import shutil
import textwrap
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import TypeAdapter
from typer.testing import CliRunner

from decision.cli import app
from decision.demo.run import LIBRARY
from decision.foresight.simulating import GivenBody
from playbooks.flow import Exits, Flow, Reentry, State, Wait
from tests.migrated import copy_migrated

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = (DOCS / "reference" / "flows.md").read_text(encoding="utf-8")
# A port where nobody listens, also beside a service on its own.
HOW_TO = (DOCS / "how-to" / "flows.md").read_text(encoding="utf-8").replace(":8321", ":9")


def test_the_example_has_every_kind_of_state_wait_and_exit() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", REFERENCE, re.S)
    flow = Flow.model_validate(yaml.safe_load(block)["flow"])
    kinds = {
        one for part in get_args(get_args(State)[0]) for one in get_args(part.model_fields["kind"].annotation)
    }
    assert {state.kind for state in flow.states.values()} == kinds
    reentries = set(get_args(Reentry.model_fields["rule"].annotation))
    named = set(re.findall(r"^\| `(\w+)` \| ", REFERENCE, re.M))
    assert named == kinds | set(Exits.model_fields) | {*reentries, "rule"}
    assert all(getattr(flow.exits, name) is not None for name in Exits.model_fields)
    waits = [state.written().keys() for state in flow.states.values() if isinstance(state, Wait)]
    assert {name for one in waits for name in one} == Wait.model_fields.keys()


def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(LIBRARY, tmp_path / "library")
    (tmp_path / "var" / "mine").mkdir(parents=True)
    copy_migrated(tmp_path / "var" / "mine" / "nextplay.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXTPLAY_LIBRARY", "library")
    imported = CliRunner().invoke(app, shlex.split("playbooks import library --publish --data var/mine"))
    assert imported.exit_code == 0, imported.output
    commands = [line for block in re.findall(r"```sh\n(.*?)```", HOW_TO, re.S) for line in block.splitlines()]
    assert commands
    for command in commands:
        result = CliRunner().invoke(app, shlex.split(command)[1:])
        assert result.exit_code == 0, (command, result.output, result.exception)
        assert "wait_for_use" in result.output, command
        if "simulate" in command:
            (shown,) = re.findall(r"^((?:    .*\n)+)", HOW_TO.split("prints what would happen")[1], re.M)[:1]
            assert result.output == textwrap.dedent(shown)
    for command in re.findall(r"^    (nextplay .*--url .*)$", HOW_TO, re.M):
        # Nobody listens: it is the command that is tried.
        result = CliRunner().invoke(app, [*shlex.split(command)[1:], "--key", "np_x"])
        assert "no service answers" in str(result.exception), command
    (given,) = re.findall(r"```json\n(.*?)```", HOW_TO, re.S)
    assert [one.given().at.hour for one in TypeAdapter(list[GivenBody]).validate_json(given)] == [18, 19, 20]
