"""The commands of docs/how-to/simulate.md run as they stand; its table names every policy."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from decision.cli import app
from learning.simulation import POLICIES

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "simulate.md").read_text(encoding="utf-8")


def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (table,) = re.findall(r"```csv\n(.*?)```", TEXT, re.S)
    (tmp_path / "table.csv").write_text(table)
    monkeypatch.chdir(tmp_path)
    commands = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
    assert len(commands) == 4
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "nextplay"
        # One process, so that the suite starts no more than it has to.
        single = ["--processes", "1"] if arguments[0] == "simulate" else []
        result = CliRunner().invoke(app, [*arguments, *single])
        assert result.exit_code == 0, (command, result.output, result.exception)
        if "--json" in arguments:
            found = json.loads(result.stdout)
            assert list(found["policies"]) == ["portfolio", "linear", "uniform"]
            assert all(one.keys() == {"mean", "se"} for one in found["policies"].values())
            assert (found["rounds"], found["shuffles"], found["seed"]) == (6, 4, 7)
        elif arguments[0] == "evaluate":
            assert "not evaluable" in result.output or "not distinguishable" in result.output
        elif "--policies" not in arguments:
            assert {line.split()[0] for line in result.stdout.splitlines()} == set(POLICIES)
    assert (tmp_path / "log.csv").read_text().count("\n") == 25


def test_every_policy_is_described() -> None:
    described = re.findall(r"^\| (`.*?`) \|", TEXT, re.M)
    names = [name for cell in described for name in re.findall(r"`(\w+)`", cell)]
    assert names == list(POLICIES)


def test_options_that_can_not_be_are_refused(tmp_path: Path) -> None:
    for options in (["--floor", "1.5"], ["--shuffles", "0"], ["--seed", "-1"]):
        assert CliRunner().invoke(app, ["simulate", str(tmp_path / "t.csv"), *options]).exit_code == 2
    missing = CliRunner().invoke(app, ["simulate", str(tmp_path / "t.csv")])
    assert "there is no file" in str(missing.exception)
    misspelt = CliRunner().invoke(app, ["simulate", str(tmp_path / "t.csv"), "--policies", "portfolios"])
    assert 'did you mean "portfolio"' in str(misspelt.exception)
