"""How long a hundred rules take over five million users: as bits, as ids, and for those who changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from audiences.rules import Columns, Rule, compile_columns
from audiences.rules.packing import Bits, members
from benchmarks import people
from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.errors import BenchmarkError

USERS = 5_000_000
CHANGED = 100_000
RULES = 100
THREADS = 2
REPEATS = 3
_NOW = f"TIMESTAMPTZ '{people.NOW.isoformat()}'"


def measure_bits(_folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of seconds: packed bits of all rules, and DuckDB's counts."""
    both = Both(people.rules(RULES), people.people(USERS), say)
    if [int(np.bitwise_count(bits).sum()) for bits in both.bits()] != both.counts():
        raise BenchmarkError("the rules and DuckDB disagree; the measurement is void")
    return alternate(lambda: _seconds(both.bits), lambda: _seconds(both.counts), REPEATS)


def measure_ids(_folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of seconds: the ids of all rules, and the same ids from DuckDB."""
    both = Both(people.rules(RULES), people.people(USERS), say)
    if both.ids() != both.rows():
        raise BenchmarkError("the rules and DuckDB disagree; the measurement is void")
    return alternate(lambda: _seconds(both.ids), lambda: _seconds(both.rows), REPEATS)


def measure_changed(_folder: Path, _say: Say) -> Sequence[Pair]:
    """Return pairs of milliseconds: all rules for the users who changed, and for all users."""
    answers = compile_columns(people.rules(RULES))
    everybody = Columns.from_arrow(people.people(USERS))
    changed = Columns.from_arrow(people.people(CHANGED, seed=8))

    def millis(columns: Columns) -> float:
        return _seconds(lambda: answers(columns, now=people.NOW, threads=THREADS)) * 1e3

    return alternate(lambda: millis(changed), lambda: millis(everybody), 2 * REPEATS)


class Both:
    """The same users in memory twice: as columns of rules, and as a table of DuckDB."""

    def __init__(self, rules: Sequence[Rule], table: pa.Table, say: Say) -> None:
        say(f"{table.num_rows:,} users are put into memory twice")
        self._answers = compile_columns(rules)
        self._columns = Columns.from_arrow(table)
        # NumPy moves complex numbers, 16 bytes each, faster than anything else of that size.
        self._ids = people.ids(table.num_rows).view(np.complex128)
        self._duckdb = duckdb.connect(config={"threads": THREADS})
        self._duckdb.execute("SET TimeZone = 'UTC'; SET arrow_lossless_conversion = true")
        self._duckdb.register("given", table)
        self._duckdb.execute("CREATE TABLE users AS SELECT uuid() AS user_id, * FROM given")
        self._duckdb.unregister("given")
        self._wheres = [rule.text.replace("now()", _NOW) for rule in rules]

    def bits(self) -> Bits:
        """Who each rule is true of."""
        return self._answers(self._columns, now=people.NOW, threads=THREADS)

    def ids(self) -> list[int]:
        """How many ids each rule gives, having made them; a rule's are let go before the next ones."""
        bits = self.bits()

        def taken(row: Bits) -> int:
            return len(self._ids.take(members(row, self._columns.length)))

        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(taken, bits))

    def counts(self) -> list[int]:
        """How many users DuckDB counts for each rule."""
        return [int(self._asked("count(*)", where)[0][0].as_py()) for where in self._wheres]

    def rows(self) -> list[int]:
        """How many ids DuckDB gives for each rule, having made them."""
        return [int(self._asked("user_id", where).num_rows) for where in self._wheres]

    def _asked(self, what: str, where: str) -> Any:
        query = f"SELECT {what} FROM users WHERE {where}"  # noqa: S608 - rules of this project
        return self._duckdb.sql(query).to_arrow_table()


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


_RULES = f"{RULES} rules of two to four conditions over {USERS:,} users with {people.FEATURES} features"

RULES_COLUMNS = Benchmark(
    name="rules_columns",
    measures=f"{_RULES}, as packed bits, {THREADS} threads.",
    against="DuckDB's count(*) of the same conditions over the same table in memory, as many threads.",
    unit="s",
    bound=Bound("ratio", "<=", 0.4),
    run=measure_bits,
)
RULES_COLUMNS_IDS = Benchmark(
    name="rules_columns_ids",
    measures=f"{_RULES}, as the ids of those they hold for, 16 bytes each, {THREADS} threads.",
    against="DuckDB's SELECT user_id of the same conditions over the same table in memory, as many threads.",
    unit="s",
    bound=Bound("ratio", "<=", 0.6),
    run=measure_ids,
)
RULES_INCREMENTAL = Benchmark(
    name="rules_incremental",
    measures=f"{RULES} rules for {CHANGED:,} users whose features changed.",
    against=f"The same rules for all {USERS:,} users.",
    unit="ms",
    bound=Bound("ratio", "<=", 0.03),
    run=measure_changed,
)
