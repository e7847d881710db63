"""Lower case, upper case and ILIKE are DuckDB's for every character there is."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator

import duckdb
import pyarrow as pa

from audiences.rules.casing import lower, upper
from audiences.rules.patterns import matcher

# DuckDB knows characters of later Unicode versions than Python's tables, which may map what Python leaves.
SURROGATES = range(0xD800, 0xE000)


def test_every_character() -> None:
    characters = [chr(code) for code in range(1, 0x110000) if code not in SURROGATES]
    table = pa.table({"c": characters})
    query = "SELECT c, lower(c), upper(c) FROM characters WHERE lower(c) <> c OR upper(c) <> c"
    with duckdb.connect() as connection:
        connection.register("characters", table)
        theirs = {c: (low, high) for c, low, high in connection.execute(query).fetchall()}
    ours = zip(characters, each(lower, characters), each(upper, characters), strict=True)
    differing = {c: (low, high) for c, low, high in ours if (low, high) != theirs.get(c, (c, c))}
    assert [c for c, cases in differing.items() if cases != (c, c)] == []
    assert all(unassigned(c) for c in differing)


def each(case: Callable[[str], str], characters: list[str]) -> Iterator[str]:
    """Yield the case of each; of those beyond ASCII in one text of all, for none hangs on those beside it."""
    plain = bisect(characters, "\x7f")
    yield from map(case, characters[:plain])
    yield from case("\0".join(characters[plain:])).split("\0")


def unassigned(character: str) -> bool:
    """Whether Python's Unicode tables don't know a character (or what it maps to) yet."""
    return not character.isprintable() or lower(character) == character == upper(character)


def test_a_final_sigma_is_like_any_other() -> None:
    assert lower("ΟΔΟΣ") == "οδοσ"
    assert upper("straße") == "STRAẞE"
    assert lower("İx") == "ix"


def test_patterns() -> None:
    assert matcher("a!%_", "!", False)("a%\n")
    assert not matcher("a!%_", "!", False)("ab\n")
    assert matcher("%É%", "", True)("x é y")
    assert not matcher("%É%", "", False)("x é y")
    assert matcher("a.c", "", False)("a.c")
    assert not matcher("a.c", "", False)("abc")
    assert matcher("a\\%", "", False)("a\\ anything")
