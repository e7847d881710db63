"""From pairs to results, from results to the page."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from benchmarks import document, report
from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate, conclude
from benchmarks.document import number, render
from benchmarks.errors import BenchmarkError, NoResults, UnknownBenchmark
from benchmarks.machine import describe
from benchmarks.pauses import Pauses, watch
from benchmarks.registry import BENCHMARKS, chosen

SAMPLE = b"""{
  "machine": {"cpu": "A processor", "cores": 2, "memory_gb": 23.5, "python": "3.11.7",
    "platform": "Linux x86_64", "sqlite": "3.40.1", "postgres": null, "load": 0.5, "sync_ms": 0.118},
  "results": [
    {"name": "durable_appends", "value": 32240.0, "unit": "rows/s", "floor": 43960.0, "ratio": 0.7334,
     "bound": "ratio >= 0.6", "holds": true, "spread": [0.71, 0.75]},
    {"name": "append_latency", "value": 12.5, "unit": "ms", "floor": 1.25, "ratio": 10.0,
     "bound": "value <= 10", "holds": false, "spread": [9.5, 10.5]},
    {"name": "gone_since", "value": 1.0, "unit": "ms", "floor": 1.0, "ratio": 1.0,
     "bound": "value <= 10", "holds": true, "spread": [1.0, 1.0]}
  ]
}"""


def say(_text: str) -> None:
    pass


AT_MOST_TWICE = Bound("ratio", "<=", 2)


def benchmark(pairs: Sequence[Pair], bound: Bound = AT_MOST_TWICE) -> Benchmark:
    def run(_folder: Path, _say: Say) -> Sequence[Pair]:
        return pairs

    return Benchmark("one", "What.", "Whom.", "ms", bound, run)


def test_medians_and_quartiles_of_the_pairs() -> None:
    pairs = [Pair(2, 1), Pair(30, 10), Pair(4, 4), Pair(5, 1), Pair(8, 2)]
    result = conclude(benchmark(pairs), pairs)
    assert (result.value, result.floor, result.ratio, result.spread) == (5, 2, 3, (2, 4))
    assert not result.holds, "3 is more than the promised 2"
    # The worst of many trials stands alone.
    alone = conclude(benchmark(pairs[:1]), pairs[:1])
    assert (alone.value, alone.ratio, alone.spread, alone.holds) == (2, 2, (2, 2), True)


@pytest.mark.parametrize(
    ("bound", "holds"),
    [
        (Bound("ratio", "<=", 2), True),
        (Bound("ratio", ">=", 2), True),
        (Bound("ratio", ">=", 2.01), False),
        (Bound("value", "<=", 9.9), False),
        (Bound("value", ">=", 10), True),
    ],
)
def test_a_promise_has_a_direction(bound: Bound, holds: bool) -> None:
    pairs = [Pair(10, 5)] * 3
    assert conclude(benchmark(pairs, bound), pairs).holds is holds


def test_subject_and_floor_take_turns_and_the_first_pair_is_thrown_away() -> None:
    order: list[str] = []

    def measured(who: str) -> float:
        order.append(who)
        return float(len(order))

    pairs = alternate(lambda: measured("subject"), lambda: measured("floor"), 3)
    assert order == ["floor", "subject", "subject", "floor", "floor", "subject", "subject", "floor"]
    assert pairs == [Pair(3, 4), Pair(6, 5), Pair(7, 8)]


def test_names_are_unique_and_every_one_can_be_chosen() -> None:
    assert [one.name for one in chosen([])] == list(BENCHMARKS)
    assert [one.name for one in chosen(["estimators", "rules_one_user", "estimators"])] == [
        "rules_one_user",
        "estimators",
    ]
    with pytest.raises(UnknownBenchmark, match="'speed'; there are load_generator, durable_appends"):
        chosen(["speed", "estimators"])


def test_the_page_of_a_sample() -> None:
    page = render(msgspec.json.decode(SAMPLE, type=report.Report))
    assert (
        "| `durable_appends` | 32,240 rows/s | 43,960 rows/s | 0.733 | 0.710 to 0.750 | ratio >= 0.6 | yes | "
        "before this was told |" in page
    )
    assert "| `append_latency` | 12.50 ms | 1.25 ms | 10.00 | 9.50 to 10.50 | value <= 10 | **no** | " in page
    assert "2 cores of A processor, 23.5 GB" in page
    assert "Postgres" not in page
    assert "gone_since" not in page
    assert BENCHMARKS["append_latency"].measures in page
    assert BENCHMARKS["estimators"].measures not in page


def test_the_page_that_is_published_is_that_of_its_run() -> None:
    assert document.PAGE.read_text(encoding="utf-8") == render(report.kept(document.SOURCE))


def test_the_page_is_written_with_the_run_it_is_made_from(tmp_path: Path) -> None:
    sample = msgspec.json.decode(SAMPLE, type=report.Report)
    page, source = tmp_path / "docs" / "performance.md", tmp_path / "results" / "published.json"
    with pytest.raises(BenchmarkError, match="from a checkout"):
        document.write(sample, page, source)
    assert not source.exists()
    page.parent.mkdir()
    document.write(sample, page, source)
    assert report.kept(source) == sample
    assert page.read_text(encoding="utf-8") == render(sample)


def test_a_result_has_exactly_its_fields(tmp_path: Path) -> None:
    measured, failures = report.run([benchmark([Pair(1, 2)] * 3)], tmp_path / "new" / "folder", say)
    (result,) = msgspec.json.decode(report.as_json(measured))["results"]
    assert list(result) == ["name", "value", "unit", "floor", "ratio", "bound", "holds", "spread"]
    assert result["spread"] == [0.5, 0.5]
    assert list(measured.origins) == ["one"]
    assert measured.origins["one"].load == measured.machine.load
    assert failures == {}
    assert not list((tmp_path / "new" / "folder").iterdir())


def test_one_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    def fail(folder: Path, _say: Say) -> Sequence[Pair]:
        (folder / "left").touch()
        raise BenchmarkError("no luck")

    failing = Benchmark("failing", "What.", "Whom.", "ms", Bound("value", "<=", 1), fail)
    broken = Benchmark("broken", "What.", "Whom.", "ms", Bound("value", "<=", 1), lambda *_: [Pair(1, 0)] * 3)
    measured, failures = report.run([failing, broken, benchmark([Pair(1, 2)] * 3)], tmp_path, say)
    assert [result.name for result in measured.results] == ["one"]
    assert failures == {"failing": "no luck", "broken": "ZeroDivisionError: division by zero"}
    assert not list(tmp_path.iterdir())


def test_a_run_of_some_replaces_only_theirs(tmp_path: Path) -> None:
    path = tmp_path / "last.json"
    first = msgspec.json.decode(SAMPLE, type=report.Report)
    assert report.keep(first, path) == first
    machine = msgspec.structs.replace(first.machine, load=3.0, pauses=Pauses(7.5, 0.25))
    faster = msgspec.structs.replace(first.results[1], value=1.0)
    origin = report.Origin(datetime(2026, 3, 2, tzinfo=UTC), "abc1234+", 3.0, 0.25)
    both = report.keep(report.Report(machine, [faster], {faster.name: origin}), path)
    assert report.kept(path) == both
    assert both.machine.load == 3.0
    assert "a core was taken away for 25.0% of the time, for 7.5 ms at the longest" in render(both)
    assert both.results == [first.results[0], faster, first.results[2]]
    page = render(both)
    assert "**no** | 2026-03-02, abc1234+ (load 3, 4 KB in 0.25 ms) |" in page
    assert "yes | before this was told |" in page
    elsewhere = report.Report(msgspec.structs.replace(machine, cores=64), [faster])
    assert report.keep(elsewhere, path) == elsewhere, "figures of two machines are never mixed"


def test_no_earlier_run(tmp_path: Path) -> None:
    with pytest.raises(NoResults, match="run `nextplay bench"):
        report.kept(tmp_path / "last.json")
    (tmp_path / "last.json").write_text("[]")
    with pytest.raises(NoResults, match="run `nextplay bench"):
        report.kept(tmp_path / "last.json")


def test_a_machine_is_described_without_its_name(tmp_path: Path) -> None:
    machine = describe(tmp_path)
    assert machine.cores >= 1
    assert machine.memory_gb > 0
    assert machine.sync_ms > 0
    assert set(machine.__struct_fields__) == {
        "cpu",
        "cores",
        "memory_gb",
        "python",
        "platform",
        "sqlite",
        "postgres",
        "load",
        "sync_ms",
        "pauses",
    }
    assert machine.pauses is not None
    assert 0 <= machine.pauses.share < 1


def test_a_core_that_others_use_is_one_taken_away() -> None:
    # As many that never rest as there are cores: whoever watches one gets half of it at most.
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        taken = watch(0.3)
    finally:
        for one in busy:
            one.kill()
            one.wait()
    assert taken.share > 0.2
    assert taken.longest_ms > 1


@pytest.mark.parametrize(
    ("value", "written"), [(43960.4, "43,960"), (532.04, "532.0"), (5.399, "5.40"), (0.7334, "0.733")]
)
def test_four_digits_are_written(value: float, written: str) -> None:
    assert number(value) == written
