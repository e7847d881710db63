"""A run of benchmarks and what is kept of it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp

import msgspec

from benchmarks.benchmark import Benchmark, Result, Say, conclude
from benchmarks.errors import BenchmarkError, NoResults
from benchmarks.machine import Machine, describe
from storage.errors import NextplayError

_SOURCES = Path(__file__).parents[1]
# Name of the file in the folder of measurements that holds the last run.
LAST_RUN = "last.json"


class Origin(msgspec.Struct, frozen=True):
    """When a result was measured and of which revision; `load` and `sync_ms` are those of a `Machine`.

    The revision is Git's, with a plus where files differed from it; None where it can't be told.
    """

    at: datetime
    revision: str | None
    load: float
    sync_ms: float


class Report(msgspec.Struct, frozen=True):
    """What was measured and on what: one run, or several on the same machine that made up for each other.

    `origins` are those of the results by their names; runs kept before they were told have none.
    """

    machine: Machine
    results: list[Result]
    origins: dict[str, Origin] = {}


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
    origin = Origin(datetime.now(UTC).replace(microsecond=0), _revision(), machine.load, machine.sync_ms)
    return Report(machine, results, {result.name: origin for result in results}), failures


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
        report = Report(report.machine, list(known.values()), earlier.origins | report.origins)
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


def _revision() -> str | None:
    """Return the revision of the sources that are measured."""
    if not (_SOURCES / ".git").exists():
        return None
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],  # noqa: S607 - whichever there is
            cwd=_SOURCES,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return told.stdout.strip()
