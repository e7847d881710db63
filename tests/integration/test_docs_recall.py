"""The command of docs/how-to/recall.md is one, and its correction is a playbook."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import yaml
from typer.testing import CliRunner

from decision.cli import app
from playbooks.models import Playbook

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "recall.md").read_text(encoding="utf-8")


def test_the_command_runs() -> None:
    (command,) = re.findall(r"```sh\n(.*?)\n```", TEXT, re.S)
    program, *arguments = shlex.split(command)
    assert program == "nextplay"
    # Nobody listens there: it is the command that is tried.
    result = CliRunner().invoke(app, [*arguments, "--url", "http://127.0.0.1:9", "--key", "np_x"])
    assert "no service answers" in str(result.exception)
    wrong = [word.replace("2026-03-02T10:02:00Z", "10:02") for word in arguments]
    assert "write 2026-03-02T10:02:00Z" in str(CliRunner().invoke(app, [*wrong, "--key", "np_x"]).exception)


def test_the_correction_is_a_playbook() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    playbook = Playbook.model_validate(yaml.safe_load(block))
    assert (playbook.purpose, playbook.priority) == ("transactional", -1000)
