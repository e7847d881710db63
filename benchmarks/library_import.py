"""How long a library of a thousand playbooks takes to be validated and imported."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import yaml

from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from decision.demo.run import LIBRARY
from decision.files import read_files
from decision.fitting import Fitting
from decision.reach import AudienceReach
from playbooks.library.reading import read_library
from playbooks.library.service import LibraryService
from storage.clock import SystemClock
from storage.engine import Database

PLAYBOOKS = 1_000
REPEATS = 3
LIMIT_SECONDS = 5


def measure(folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of seconds: a library validated and imported into SQLite, and its YAML merely parsed."""
    library = _library(folder / "library")
    files = read_files(library)
    audiences = [audience.id for audience in files.definitions.audiences]
    check = Fitting(
        lambda: audiences, files.policy, files.vocabulary, files.asked, files.in_flows, files.channels
    )
    say(f"{len(files.draft.playbooks):,} playbooks, {len(files.draft.offers)} offers")
    runs = iter(range(REPEATS + 1))
    return alternate(
        lambda: _imported(folder, library, check, next(runs)), partial(_parsed, library), REPEATS
    )


def _library(folder: Path) -> Path:
    """Write a library of a thousand playbooks, no two alike: the demo's five, over and over."""
    shutil.copytree(LIBRARY, folder)
    originals = sorted((folder / "playbooks").glob("*.yaml"))
    texts = [(path.stem, path.read_text(encoding="utf-8")) for path in originals]
    for path in originals:
        path.unlink()
    for number in range(PLAYBOOKS):
        name, text = texts[number % len(texts)]
        edited = text.replace(f"id: {name}", f"id: {name}_{number}", 1)
        edited = edited.replace("limit: 4", f"limit: {number % 9 + 1}")
        (folder / "playbooks" / f"{name}_{number}.yaml").write_text(edited, encoding="utf-8")
    return folder


def _imported(folder: Path, library: Path, check: Fitting, run: int) -> float:
    database = Database(f"sqlite:///{folder / f'{run}.db'}")
    service = LibraryService(database, SystemClock(), check, AudienceReach(database))
    try:
        started = time.perf_counter()
        done = service.import_(read_library(library), by="bench", source="cli", publish=True)
        took = time.perf_counter() - started
    finally:
        database.close()
    if len(done.live) != PLAYBOOKS:
        raise AssertionError(f"{len(done.live)} of {PLAYBOOKS} playbooks are live")
    return took


def _parsed(library: Path) -> float:
    started = time.perf_counter()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for path in library.rglob("*.yaml"):
        yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - both are safe ones
    return time.perf_counter() - started


LIBRARY_IMPORT = Benchmark(
    name="library_import",
    measures=f"{PLAYBOOKS:,} playbook files read, checked and imported into SQLite, all live.",
    against="The same files parsed by libyaml, and no more.",
    unit="s",
    bound=Bound("value", "<=", LIMIT_SECONDS),
    run=measure,
)
