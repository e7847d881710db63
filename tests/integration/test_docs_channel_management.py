"""The file and the commands of docs/how-to/channel-management.md as they stand."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from decision.cli import app
from decision.demo.run import LIBRARY
from delivery.channels.documents import read_channels
from tests.migrated import copy_migrated

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "channel-management.md"


def test_the_file_is_read_and_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = PAGE.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    data = Path("var/mine")
    library = data / "library"
    shutil.copytree(LIBRARY, library)
    (file,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (library / "channels.yaml").write_text(file)
    managed = {name: spec.entry.management for name, spec in read_channels(library).items()}
    assert managed["email"].then == ["sms"]
    assert str(managed["sms"].cost) == "0.07 EUR"
    copy_migrated(data / "nextplay.db")
    commands = re.findall(r"^\.venv/bin/nextplay (.*)$", text, re.MULTILINE)
    assert len(commands) == 2
    said = []
    for command in commands:
        result = CliRunner().invoke(app, shlex.split(command))
        assert result.exit_code == 0, (command, result.output, result.exception)
        said.append(result.output)
    lines = said[0].splitlines()
    assert [line.split("\t")[:3] for line in lines] == [
        [name, "open", "0 wait"] for name in ("email", "sms", "webhook")
    ]
    assert "month: 2000000 of 2000000 left" in lines[0]
    shown = json.loads(said[1])
    assert (shown["name"], shown["state"], shown["concurrency"]) == ("sms", "open", 16)
    assert shown["rate"] == {"messages": 600, "per": "minute", "tokens": 10}
    wrong = CliRunner().invoke(app, ["channels", "smss", "--data", str(data)])
    assert wrong.exit_code != 0
    assert "did you mean 'sms'?" in str(wrong.exception)
