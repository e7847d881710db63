"""A run of benchmarks and what is kept of it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp

import msgspec

from benchmarks.benchmark import Benchmark, Result, Say, conclude
from benchmarks.errors import BenchmarkError, NoResults
from benchmarks.machine import Machine, describe
from storage.errors import NextplayError

# Name of the file in the folder of measurements that holds the last run.
LAST_RUN = "last.json"


class Report(msgspec.Struct, frozen=True):
    """What a run measured, and on what."""

    machine: Machine
    results: list[Result]


def run(benchmarks: Sequence[Benchmark], folder: Path, say: Say) -> tuple[Report, dict[str, str]]:
    """Run benchmarks one after the other in `folder`, which is created, and left as it was.

    Returns:
        The report, and by name why a benchmark gave no result. One that fails does not stop the others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    machine = describe(folder)
    results: list[Result] = []
    failures: dict[str, str] = {}
    for benchmark in benchmarks:
        own = Path(mkdtemp(prefix=f"{benchmark.name}-", dir=folder))
        say(f"{benchmark.name}: {benchmark.measures}")
        try:
            results.append(conclude(benchmark, benchmark.run(own, say)))
        except NextplayError as error:
            failures[benchmark.name] = str(error)
        except Exception as error:  # noqa: BLE001 - a mistake in one must not lose what the others measured
            failures[benchmark.name] = f"{type(error).__name__}: {error}"
        finally:
            shutil.rmtree(own, ignore_errors=True)
    return Report(machine, results), failures


def keep(report: Report, path: Path) -> Report:
    """Keep a report as the last run in the file `path` and return it.

    A run of some benchmarks on the same machine takes their place in the last run and leaves the others.
    """
    try:
        earlier = kept(path)
    except BenchmarkError:
        earlier = None
    if earlier is not None and earlier.machine.like(report.machine):
        fresh = {result.name: result for result in report.results}
        known = {result.name: result for result in earlier.results} | fresh
        report = Report(report.machine, list(known.values()))
    path.write_bytes(as_json(report) + b"\n")
    return report


def kept(path: Path) -> Report:
    """Return the run that was kept in the file `path`.

    Raises:
        NoResults: there is none, or the file holds something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.DecodeError) as error:
        raise NoResults(f"{path} holds no results ({error}); run `nextplay bench` first") from error


def as_json(report: Report) -> bytes:
    """Return a report as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2)
