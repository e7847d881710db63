"""How long a hundred rules take for one user."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from audiences.rules import Schema, Type, compile_one, parse
from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.errors import BenchmarkError

RULES = 100
CALLS = 20_000
REPEATS = 7
_NUMBERS = [f"n{place}" for place in range(16)]
_TEXTS = [f"t{place}" for place in range(4)]
_WORDS = ["bronze", "silver", "gold"]

Answer = Callable[[Mapping[str, object]], list[bool]]


def measure(_folder: Path, _say: Say) -> Sequence[Pair]:
    """Return pairs of microseconds that all rules take for a user."""
    chance = random.Random(7)  # noqa: S311 - chooses rules, keeps no secret
    rules = [_rule(chance) for _ in range(RULES)]
    users = [_user(chance) for _ in range(200)]
    ours, by_hand = compiled(rules), written_by_hand(rules)
    if any(ours(user) != by_hand(user) for user in users):
        raise BenchmarkError("the rules and the same conditions in Python disagree; the measurement is void")
    return alternate(lambda: _micros(ours, users), lambda: _micros(by_hand, users), REPEATS)


def compiled(rules: Sequence[str]) -> Answer:
    """Return the rules as the project compiles them, nulls and all."""
    names = dict.fromkeys(_NUMBERS, Type.NUMBER) | dict.fromkeys(_TEXTS, Type.TEXT)
    schema = Schema(names)
    return compile_one([parse(rule, schema) for rule in rules])


def written_by_hand(rules: Sequence[str]) -> Answer:
    """Return the rules as a person would write them in Python for users of whom everything is known."""
    conditions = [
        rule.replace(" AND ", " and ").replace(" OR ", " or ").replace(" = ", " == ") for rule in rules
    ]
    lines = [f"    {name} = values[{name!r}]" for name in (*_NUMBERS, *_TEXTS)]
    source = "\n".join(["def answers(values):", *lines, f"    return [{', '.join(conditions)}]"])
    namespace: dict[str, Answer] = {}
    exec(source, namespace)  # noqa: S102 - made of the constants of this module
    return namespace["answers"]


def _micros(answer: Answer, users: Sequence[Mapping[str, object]]) -> float:
    started = time.perf_counter()
    for call in range(CALLS):
        answer(users[call % len(users)])
    return (time.perf_counter() - started) / CALLS * 1e6


def _rule(chance: random.Random) -> str:
    number = f"{chance.choice(_NUMBERS)} {chance.choice(['<', '>=', '>'])} {chance.randint(1, 99)}"
    if chance.random() < 0.5:
        other = f"{chance.choice(_TEXTS)} = '{chance.choice(_WORDS)}'"
    else:
        other = f"{chance.choice(_NUMBERS)} > {chance.randint(1, 99)}"
    return f"{number} {chance.choice(['AND', 'OR'])} {other}"


def _user(chance: random.Random) -> dict[str, object]:
    numbers: dict[str, object] = {name: chance.uniform(0, 100) for name in _NUMBERS}
    return numbers | {name: chance.choice(_WORDS) for name in _TEXTS}


RULES_ONE_USER = Benchmark(
    name="rules_one_user",
    measures=f"{RULES} rules of two conditions each, for one user with {len(_NUMBERS + _TEXTS)} features.",
    against="The same conditions as one Python function written by hand, without nulls.",
    unit="µs",
    bound=Bound("value", "<=", 10),
    run=measure,
)
