"""Made-up users with twenty features, and rules over them, for the benchmarks of rules and audiences."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from audiences.rules import Rule, Schema, Type, parse

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FEATURES = 20
_COUNTS = [f"orders_{days}d" for days in (1, 7, 14, 28, 56, 90, 180, 365)]
_AMOUNTS = [f"spend_{days}d" for days in (28, 90, 365)]
_SHARES = ["discount_share", "return_share"]
_WORDS = {"tier": 4, "city": 60, "device": 6}
_TIMES = ["last_order", "last_visit", "first_seen"]
_FLAGS = ["subscribed"]
_MISSING = 0.05

SCHEMA = Schema(
    dict.fromkeys([*_COUNTS, *_AMOUNTS, *_SHARES], Type.NUMBER)
    | dict.fromkeys(_WORDS, Type.TEXT)
    | dict.fromkeys(_TIMES, Type.TIMESTAMP)
    | dict.fromkeys(_FLAGS, Type.BOOL)
)


def people(count: int, seed: int = 7) -> pa.Table:
    """Users as Feast gives them: counts and amounts in cents, shares, texts, times, a flag; 5 % missing."""
    rng = np.random.default_rng(seed)
    columns: dict[str, pa.Array] = {}
    for place, name in enumerate(_COUNTS):
        columns[name] = _array(rng, rng.poisson(2 + 4 * place, count).astype(np.int64))
    for name in _AMOUNTS:
        columns[name] = _array(rng, rng.integers(0, 200_000, count))
    for name in _SHARES:
        columns[name] = _array(rng, rng.random(count))
    for name, words in _WORDS.items():
        codes = pa.array(rng.integers(0, words, count).astype(np.int32), mask=rng.random(count) < _MISSING)
        texts = pa.array([f"{name}_{place}" for place in range(words)])
        columns[name] = pa.DictionaryArray.from_arrays(codes, texts).cast(pa.string())
    for name in _TIMES:
        seconds = int(NOW.timestamp()) - rng.integers(0, 700 * 86_400, count)
        columns[name] = _array(rng, seconds * 1_000_000).cast(pa.timestamp("us", tz="UTC"))
    for name in _FLAGS:
        columns[name] = _array(rng, rng.random(count) < 0.5)
    return pa.table(columns)


def ids(count: int, seed: int = 7) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """As many ids of 16 bytes."""
    return np.frombuffer(np.random.default_rng(seed).bytes(16 * count), dtype="V16")


def rules(count: int, seed: int = 7) -> list[Rule]:
    """Rules of two to four conditions each, joined by AND and OR, some negated."""
    chance = random.Random(seed)  # noqa: S311 - chooses rules, keeps no secret
    return [parse(_rule(chance), SCHEMA) for _ in range(count)]


def _rule(chance: random.Random) -> str:
    text = _condition(chance)
    for _ in range(chance.randint(1, 3)):
        text = f"({text}) {chance.choice(['AND', 'AND', 'OR'])} {_condition(chance)}"
    return text


def _condition(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.4:
        return f"{chance.choice(_COUNTS)} {chance.choice(['>=', '>', '<', '='])} {chance.randint(0, 30)}"
    if kind < 0.55:
        return f"{chance.choice(_AMOUNTS)} {chance.choice(['>=', '<'])} {chance.randint(0, 200) * 1000}"
    if kind < 0.65:
        return f"{chance.choice(_SHARES)} {chance.choice(['>', '<='])} {chance.randint(1, 99) / 100}"
    if kind < 0.8:
        name = chance.choice(list(_WORDS))
        words = [f"'{name}_{chance.randrange(_WORDS[name])}'" for _ in range(chance.randint(1, 3))]
        return f"{name} IN ({', '.join(words)})" if len(words) > 1 else f"{name} = {words[0]}"
    if kind < 0.95:
        ordering = chance.choice([">=", "<"])
        return f"{chance.choice(_TIMES)} {ordering} now() - INTERVAL '{chance.randint(1, 700)} days'"
    return chance.choice(["subscribed", "NOT subscribed"])


def _array(rng: np.random.Generator, values: np.ndarray[tuple[int], np.dtype[np.generic]]) -> pa.Array:
    return pa.array(values, mask=rng.random(len(values)) < _MISSING)
