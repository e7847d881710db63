"""The commands and the Python of docs/how-to/evaluate.md run as they stand; the reference is complete."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
import yaml
from pyarrow import csv
from typer.testing import CliRunner

from decision.cli import app
from learning.evaluation.diagnostics import Diagnostics
from learning.evaluation.estimators import ESTIMATORS
from learning.evaluation.evaluate import Evaluation
from learning.evaluation.experiment import Experiment
from learning.evaluation.intervals import INTERVALS
from learning.evaluation.logs.rounds import OPTIONAL, REQUIRED
from learning.spec import PolicySpec

DOCS = Path(__file__).parents[2] / "docs"
# A port where nobody listens, also beside a service on its own.
TEXT = (DOCS / "how-to" / "evaluate.md").read_text(encoding="utf-8").replace(":8321", ":9")
REFERENCE = (DOCS / "reference" / "evaluation.md").read_text(encoding="utf-8")


def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (log,) = re.findall(r"```csv\n(.*?)```", TEXT, re.S)
    (tmp_path / "log.csv").write_text(log)
    monkeypatch.chdir(tmp_path)
    commands = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
    assert len(commands) == 8
    pq.write_table(csv.read_csv(tmp_path / "log.csv"), tmp_path / "elsewhere.parquet")
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "nextplay"
        if "--url" in arguments:
            # Nobody listens: it is the command that is tried.
            result = CliRunner().invoke(app, [*arguments, "--key", "np_x"])
            assert "no service answers" in str(result.exception), command
            continue
        result = CliRunner().invoke(app, arguments)
        if "--data" in arguments:
            assert f"there is no database {tmp_path / 'var/demo/nextplay.db'}" in str(result.exception)
            continue
        assert result.exit_code == 0, (command, result.output, result.exception)
        if "--json" in arguments:
            found = msgspec.json.decode(result.output, type=Evaluation)
            assert set(found.estimates) == set(ESTIMATORS)
            assert found.verdict == "not distinguishable"
        else:
            assert "doubt: the log is worth only" in result.output
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4
    # The page has all it shows in it.
    assert not re.findall(r"""(?:src|href)=["']http""", page.replace("http://www.w3.org", ""))
    pictures = {one.name: one.read_bytes()[:4] for one in (tmp_path / "pictures").iterdir()}
    assert pictures == dict.fromkeys(("forest.png", "weights.png", "overlap.png", "value.png"), b"\x89PNG")


def test_the_python_runs(tmp_path: Path) -> None:
    (log,) = re.findall(r"```csv\n(.*?)```", TEXT, re.S)
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    (tmp_path / "log.csv").write_text(log)
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert printed.startswith("not distinguishable (")


def test_the_reference_names_everything() -> None:
    fields = [one.name for one in msgspec.structs.fields(Diagnostics)]
    answer = [one.name for one in msgspec.structs.fields(Evaluation)]
    for name in (*ESTIMATORS, *INTERVALS, *REQUIRED, *OPTIONAL, *fields):
        assert f"`{name}`" in REFERENCE, name
    (example,) = re.findall(r"```json\n(.*?)```", REFERENCE, re.S)
    assert list(msgspec.json.decode(example)) == answer


def test_options_that_do_not_fit_the_log_are_refused(tmp_path: Path) -> None:
    (log,) = re.findall(r"```csv\n(.*?)```", TEXT, re.S)
    (tmp_path / "log.csv").write_text(log)
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path / "log.csv"), "--after", "3"])
    assert result.exit_code == 2
    assert "go with own decisions" in result.output


def test_the_commands_of_experiments_run_and_the_policy_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (DOCS / "how-to" / "experiments.md").read_text(encoding="utf-8").replace(":8321", ":9")
    (policy,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    assert PolicySpec.model_validate(yaml.safe_load(policy)).exploration.kind == "fixed_split"
    (log,) = re.findall(r"```csv\n(.*?)```", text, re.S)
    (tmp_path / "split.csv").write_text(log)
    monkeypatch.chdir(tmp_path)
    commands = [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()]
    assert len(commands) == 3
    for command in commands:
        _, *arguments = shlex.split(command)
        result = CliRunner().invoke(app, [*arguments, *(["--key", "np_x"] if "--url" in arguments else [])])
        if "--url" in arguments:
            assert "no service answers" in str(result.exception), command
        else:
            assert result.output.startswith("friendly not distinguishable (against formal"), result.output
    for one in msgspec.structs.fields(Experiment):
        assert f"`{one.name}`" in text or one.name in ("control", "confidence")
