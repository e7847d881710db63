"""Rules for many users at once: rows of packed bits, one per rule.

Every distinct entry of `Forms` is computed once, however many rules ask it. Rows are taken in chunks
that stay in the processor's cache, and chunks may be shared out to threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import reduce
from typing import cast

import numpy as np

from audiences.rules.column_terms import Chunk, ColumnTerms
from audiences.rules.column_tests import ColumnTests
from audiences.rules.columns import Columns, Flags
from audiences.rules.cuts import Cuts
from audiences.rules.forms import All, Always, Any, Entry, Flag, Flip, Forms, Missing
from audiences.rules.packing import Bits, pack
from audiences.rules.rule import Rule
from audiences.rules.schema import Type
from audiences.rules.tree import Member, Name
from audiences.rules.values import clock

CHUNK_ROWS = 1 << 16  # a float64 column of a chunk is 512 KB; a multiple of 8 keeps bytes whole

_Answer = Callable[[Chunk, list[Bits]], Bits]


class ManyUsers:
    """Many rules over columns of users; `names` are the features the rules use."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.names = tuple(sorted({name for rule in rules for name in rule.types}))
        self._forms = Forms([rule.tree for rule in rules])
        self._uses_now = any(rule.uses_now for rule in rules)

    def __call__(self, columns: Columns, *, now: datetime | None = None, threads: int = 1) -> Bits:
        """Who each rule is true of: uint8 of shape (rules, ceil(rows / 8)).

        Row i is bit i % 8 of byte i // 8 (`bitorder="little"`), and bits past the last row are 0;
        `members` gives the row numbers. Raises RuleValueError for a column that is missing or of
        another type, or a missing `now` that a rule asks for.
        """
        terms = ColumnTerms(columns, clock(now) if self._uses_now else None)
        tests = ColumnTests(terms)
        cuts = Cuts(terms)
        answers = [_answer(entry, columns, cuts, tests) for entry in self._forms.entries]
        bits = np.zeros((len(self._forms.roots), (columns.length + 7) // 8), dtype=np.uint8)

        def fill(start: int) -> None:
            chunk = Chunk(start, min(start + CHUNK_ROWS, columns.length))
            found: list[Bits] = []
            with np.errstate(all="ignore"):
                for answer in answers:
                    found.append(answer(chunk, found))
            for place, root in enumerate(self._forms.roots):
                bits[place, chunk.bytes] = found[root]

        starts = range(0, columns.length, CHUNK_ROWS)
        # A pool costs more than it gives where a thread has a single chunk to do.
        if threads > 1 and len(starts) > threads:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(fill, starts))
        else:
            for start in starts:
                fill(start)
        if columns.length % 8:
            bits[:, -1] &= (1 << columns.length % 8) - 1
        return bits


def compile_columns(rules: Sequence[Rule]) -> ManyUsers:
    """One function that answers all of some rules for columns of users, in their order."""
    return ManyUsers(rules)


def _answer(entry: Entry, columns: Columns, cuts: Cuts, tests: ColumnTests) -> _Answer:  # noqa: PLR0911 - a case, a return
    match entry:
        case Always(always):
            return lambda chunk, found: np.full((len(chunk) + 7) // 8, 255 if always else 0, dtype=np.uint8)
        case All(parts):
            return lambda chunk, found: reduce(np.bitwise_and, (found[part] for part in parts))
        case Any(parts):
            return lambda chunk, found: reduce(np.bitwise_or, (found[part] for part in parts))
        case Flip(part):
            return lambda chunk, found: np.invert(found[part])
        case Flag(of, truth):
            flags = _flags(columns, of)
            return _kept(flags.true if truth else flags.false)
        case Missing(Name(type=Type.BOOL) as of):
            flags = _flags(columns, of)
            return _kept(~(flags.true | flags.false))
        case Member(of, name):
            have = columns.tags if of == "tag" else columns.audiences
            return _kept(have.get(name, np.zeros((columns.length + 7) // 8, dtype=np.uint8)))
        case _:
            cut = cuts.answer(entry)
            if cut is not None:
                return lambda chunk, found: cut(chunk)
            test = tests.test(entry)
            return lambda chunk, found: pack(np.broadcast_to(test(chunk), len(chunk)))


def _kept(bits: Bits) -> _Answer:
    return lambda chunk, found: bits[chunk.bytes]


def _flags(columns: Columns, of: Name) -> Flags:
    return cast(Flags, columns.typed(of.name, Type.BOOL))
