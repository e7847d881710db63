"""Batches of decisions: the command, the Parquet file, and a decider in a program of one's own."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from benchmarks.shop import opened_shop, users
from decision.cli import app
from learning.exports import export_log
from storage.engine import Database

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "decide-elsewhere.md"
USERS = 150


def run(*arguments: Any) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    return result.output if result.exception is None else str(result.exception)


def test_an_audience_is_decided_for_and_a_program_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "var" / "nextplay"
    with opened_shop(data, USERS) as service:
        audience = max(service.audiences.memberships.live, key=lambda one: len(members(service, one)))
        expected = members(service, audience)
    assert len(expected) > 1
    monkeypatch.chdir(tmp_path)
    # The log is the whole process's, which here outlives the command.
    monkeypatch.setattr("decision.batch_command.configure", lambda _level: None)
    monkeypatch.setenv("NEXTPLAY_CLOCK", "2026-03-02T09:00:00Z")
    monkeypatch.setenv("NEXTPLAY_SEED", "bench")
    text = GUIDE.read_text(encoding="utf-8")
    (command,) = re.findall(r"^nextplay (decide-batch .*)$", text, re.M)
    assert "did you mean" in run(*command.replace("new_shopper", audience[:-1] + "x").split())
    assert not list(tmp_path.glob("*decided*"))
    said = run(*command.replace("new_shopper", audience).split())
    assert f"{len(expected)} decisions in" in said
    rows = pq.read_table(tmp_path / "decided.parquet").to_pylist()
    assert {row["user_id"] for row in rows} == set(expected)
    assert all((row["offer"] is None) == (row["variant"] == "do_nothing") for row in rows)
    # Called again under the same key, everybody gets the answer of then.
    again = command.replace("new_shopper", audience).replace("decided.parquet", "again.parquet")
    run(*again.split())
    assert pq.read_table(tmp_path / "again.parquet").to_pylist() == rows
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    exec(compile(code, str(GUIDE), "exec"), {})
    assert re.search(r"^\S+ \d\.\d+\n(None|deadline)$", capsys.readouterr().out, re.M)
    with closing(Database(f"sqlite:///{data}/nextplay.db")) as database:
        recorded = export_log(database, tmp_path / "log.jsonl", "jsonl")
    assert recorded.decisions == len(expected) + 2


def members(service: Any, audience: str) -> list[str]:
    memberships = service.audiences.memberships
    return [user for user in users(USERS) if audience in memberships.of(user)]
