"""Tests on values over columns: bools of a chunk, for the entries of `Forms` that compare."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import ge, gt, le, lt

import numpy as np

from audiences.rules.column_terms import Array, Chunk, ColumnTerms, is_floating, ranks
from audiences.rules.columns import Lists, Numbers, Texts
from audiences.rules.forms import Among, Entry, Holding, Holds, Matches, Missing
from audiences.rules.packing import Mask
from audiences.rules.patterns import matcher
from audiences.rules.schema import Type
from audiences.rules.tree import Literal, Node, Ordering, type_of

Test = Callable[[Chunk], Mask]

FEW = 8  # up to so many constants, comparing with each is faster than a look-up

_FLOATING: dict[Ordering, Callable[[Array, Array], Array]] = {
    "=": np.equal,
    # NaN differs from everything, but unknown is not different.
    "<>": lambda left, right: np.less(left, right) | np.greater(left, right),
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
_PLAIN: dict[Ordering, Callable[..., bool]] = {
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
}


class ColumnTests:
    """Tests by entry, over the values of `ColumnTerms`."""

    def __init__(self, terms: ColumnTerms) -> None:
        self._terms = terms

    def test(self, entry: Entry) -> Test:
        """A function from a chunk to bools of its length (or one bool, where all are alike)."""
        match entry:
            case Holds():
                return self._holds(entry)
            case Among(of, options, inside):
                return self._among(of, options, inside)
            case Matches(of, pattern, escape, fold, inside):
                match_text = matcher(pattern, escape, fold)
                return _of_texts(self._terms.texts(of), lambda text: match_text(text) is inside)
            case Missing(of):
                return self._missing(of)
            case Holding(items, element, inside):
                return self._holding(self._terms.lists(items), element, inside)
        raise AssertionError(f"{entry!r} is no test")

    def _holds(self, entry: Holds) -> Test:
        if is_floating(entry.left):
            left, right, compare = self._terms.read(entry.left), self._terms.read(entry.right), _FLOATING
            return lambda chunk: compare[entry.ordering](left(chunk), right(chunk))
        if isinstance(entry.right, Literal):
            return self._against_constant(entry.left, entry.ordering, entry.right.value)
        _, (one, other) = ranks([self._terms.texts(entry.left), self._terms.texts(entry.right)])
        rank = _FLOATING[entry.ordering]

        def test(chunk: Chunk) -> Mask:
            first, second = one[chunk.rows], other[chunk.rows]
            return rank(first, second) & (first >= 0) & (second >= 0)

        return test

    def _against_constant(self, of: Node, ordering: Ordering, constant: object) -> Test:
        if constant is None:
            return lambda chunk: np.zeros(len(chunk), dtype=np.bool_)
        if ordering in {"=", "<>"}:
            return self._among(of, (str(constant),), ordering == "=")
        plain = _PLAIN[ordering]
        return _of_texts(self._terms.texts(of), lambda text: plain(text, constant))

    def _among(self, of: Node, options: tuple[float | str | int, ...], inside: bool) -> Test:
        if not is_floating(of):
            places = self._terms.places(of)
            codes = [code for option in options for code in places.get(str(option), ())]
            return _of_codes(self._terms.texts(of), codes, inside)
        read = self._terms.read(of)
        dtype = "datetime64[us]" if type_of(of) is Type.TIMESTAMP else "float64"
        constants = np.asarray(options).astype(dtype)

        def test(chunk: Chunk) -> Mask:
            values = read(chunk)
            found = _is_any(values, constants)
            return found if inside else ~found & np.equal(values, values)

        return test

    def _missing(self, of: Node) -> Test:
        if is_floating(of):
            read = self._terms.read(of)

            def test(chunk: Chunk) -> Mask:
                values = read(chunk)
                return np.not_equal(values, values)

            return test
        if type_of(of).is_list:
            valid = self._terms.lists(of).valid
            return lambda chunk: ~valid[chunk.rows]
        codes = self._terms.texts(of).codes
        return lambda chunk: codes[chunk.rows] < 0

    def _holding(self, lists: Lists, element: Node, inside: bool) -> Test:
        wanted, hits = self._hits(lists, element)

        def test(chunk: Chunk) -> Mask:
            first, last = lists.offsets[chunk.start], lists.offsets[chunk.stop]
            rows = np.repeat(np.arange(len(chunk)), np.diff(lists.offsets[chunk.start : chunk.stop + 1]))
            found = np.zeros(len(chunk), dtype=np.bool_)
            found[rows[hits(chunk, slice(first, last), rows)]] = True
            known = lists.valid[chunk.rows] & wanted(chunk)
            return (found if inside else ~found) & known

        return test

    def _hits(self, lists: Lists, element: Node) -> tuple[Test, Callable[[Chunk, slice, Array], Mask]]:
        items = lists.items
        if isinstance(items, Numbers):
            values, read = items.values, self._terms.read(element)
            known = np.ones(len(items), dtype=np.bool_) if items.valid is None else items.present()

            def equal(chunk: Chunk, span: slice, rows: Array) -> Mask:
                hit: Mask = np.equal(values[span], np.broadcast_to(read(chunk), len(chunk))[rows])
                return hit & known[span]

            return lambda chunk: np.equal(read(chunk), read(chunk)), equal
        # Codes of the element's texts among the items': -2 where no item has that text.
        texts = self._terms.texts(element)
        places = {text: place for place, text in enumerate(items.dictionary)}
        alike = np.asarray([places[text] for text in items.dictionary] + [-1])
        sought = np.asarray([*(places.get(text, -2) for text in texts.dictionary), -2])

        def same(chunk: Chunk, span: slice, rows: Array) -> Mask:
            hit: Mask = np.equal(alike[items.codes[span]], sought[texts.codes[chunk.rows]][rows])
            return hit

        return lambda chunk: texts.codes[chunk.rows] >= 0, same


def _of_texts(texts: Texts, holds: Callable[[str], bool]) -> Test:
    """A test that depends only on the text: asked once of each text of the dictionary."""
    answers = np.asarray([*map(holds, texts.dictionary), False])
    holding = np.flatnonzero(answers)
    if len(holding) <= FEW:
        return _of_codes(texts, holding.tolist(), True)
    return lambda chunk: answers[texts.codes[chunk.rows]]


def _of_codes(texts: Texts, wanted: list[int], inside: bool) -> Test:
    """A test whether a text's code is one of some, or (with `inside` false) a known one but none of them."""
    codes = texts.codes
    if len(wanted) <= FEW:
        constants = np.asarray(wanted, dtype=codes.dtype)
        if inside:
            return lambda chunk: _is_any(codes[chunk.rows], constants)
        return lambda chunk: ~_is_any(codes[chunk.rows], constants) & (codes[chunk.rows] >= 0)
    answers = np.full(len(texts.dictionary) + 1, not inside)
    answers[wanted] = inside
    answers[-1] = False
    return lambda chunk: answers[codes[chunk.rows]]


def _is_any(values: Array, constants: Array) -> Mask:
    if len(constants) > FEW:
        return np.isin(values, constants)
    if not len(constants):
        return np.zeros(np.shape(values), dtype=np.bool_)
    return reduce(np.logical_or, (values == constant for constant in constants))
