"""`nextplay bench` as a person meets it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from benchmarks import document, rules_one_user
from benchmarks.errors import UnknownBenchmark
from benchmarks.registry import BENCHMARKS
from benchmarks.report import Report
from decision.bench_command import bench

app = typer.Typer()
app.command()(bench)


@pytest.fixture(autouse=True)
def _few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_one_user, "CALLS", 50)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_list_names_every_benchmark_and_its_promise() -> None:
    listed = run("--list")
    for benchmark in BENCHMARKS.values():
        assert benchmark.name in listed
        assert f"Promised: {benchmark.bound}" in listed


def test_json_holds_nothing_but_the_report(tmp_path: Path) -> None:
    report = msgspec.json.decode(
        run("rules_one_user", "--json", "--folder", str(tmp_path / "bench")), type=Report
    )
    (result,) = report.results
    assert (result.name, result.unit, result.bound) == ("rules_one_user", "µs", "value <= 10")
    assert result.spread[0] <= result.ratio <= result.spread[1]


def test_a_table_for_people(tmp_path: Path) -> None:
    printed = run("rules_one_user", "--folder", str(tmp_path))
    assert "rules_one_user" in printed
    assert "value <= 10" in printed
    assert "against:" in printed


def test_an_unknown_name_runs_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnknownBenchmark, match="there is no benchmark 'speed'; there are load_generator"):
        run("rules_one_user", "speed", "--folder", str(tmp_path / "bench"))
    assert not (tmp_path / "bench").exists()


def test_the_page_is_written_from_the_last_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "performance.md"
    monkeypatch.setattr(document, "PAGE", page)
    monkeypatch.setattr(document, "SOURCE", tmp_path / "results" / "published.json")
    run("rules_one_user", "--folder", str(tmp_path))
    run("--write-docs", "--folder", str(tmp_path))
    written = page.read_text(encoding="utf-8")
    assert "| `rules_one_user` |" in written
    (tmp_path / "last.json").unlink()
    page.unlink()
    run("--write-docs", "--folder", str(tmp_path))
    assert page.read_text(encoding="utf-8") == written
