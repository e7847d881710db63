"""The example and commands of docs/how-to/constraints.md run as they stand."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from decision.cli import app
from decision.demo.run import LIBRARY
from tests.migrated import copy_migrated

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "constraints.md").read_text(encoding="utf-8")


def test_the_example_is_validated_compared_and_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "my" / "library"
    shutil.copytree(LIBRARY, library)
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    (library / "constraints.yaml").write_text(example)
    (tmp_path / "var" / "mine").mkdir(parents=True)
    copy_migrated(tmp_path / "var" / "mine" / "nextplay.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXTPLAY_LIBRARY", "my/library")
    (block,) = re.findall(r"```sh\n(.*?)```", TEXT, re.S)
    said = []
    for command in block.splitlines():
        result = CliRunner().invoke(app, shlex.split(command)[1:])
        assert result.exit_code == 0, (command, result.output, result.exception)
        said.append(result.output)
    assert "constraints: constraint cap.promotional_week: added" in said[1]
    again = CliRunner().invoke(app, shlex.split(block.splitlines()[1])[1:])
    assert again.output == "nothing differs\n"
