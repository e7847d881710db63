"""User × arm features as data, compiled to one function from a user's features to a matrix.

    features:
      - {name: rate_12w, from: category_rate_12w, at: arm.category, transform: [raw, sqrt]}
      - {scalar: orders_4w, transform: [log1p], cap: 50, missing: true}
      - {number: arm.value, scale: 0.01}
      - {name: took, rate: [coupons_taken, coupons_shown], pull: 4, towards: 0.2}
      - {one_hot: arm.category}
      - {steps: arm.value}
      - {product: [rate_12w, orders_4w.log1p]}
      - {cross: [[took, orders_4w.log1p], ["value>=500", "value>=800"]]}
      - {name: net, sum: {margin: 1, value: -1}, least: 1}

`from … at` picks from an array over a vocabulary the number that belongs to the arm's attribute; a scalar is
the same for every arm, an arm's number the same for every user. Nulls, NaN and infinities become 0, and
`missing: true` adds a column that is 1 there. Columns are named `rate_12w`, `rate_12w.sqrt`,
`orders_4w.missing`, `value`, `took`, `category=<name>`, `value>=<name>`, `<one>*<other>`, `net`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learning.errors import PolicySpecError
from learning.feature_arms import ArmColumns
from learning.feature_cells import Cells, Made, Source, side_by_side
from learning.feature_columns import fill, numbers_of, numbers_of_each, picked, summed, times
from learning.feature_kinds import (
    LARGEST,
    ArmNumber,
    Cross,
    Feature,
    FromArray,
    FromScalar,
    OneHot,
    Product,
    Rate,
    Steps,
    Sum,
)
from playbooks.models import Arm

FloatArray = NDArray[np.float64]


class FeatureSet:
    """Features compiled against vocabularies: `matrix` is pure and may be called from many threads."""

    def __init__(self, features: Sequence[Feature], vocabularies: Mapping[str, Sequence[str]]) -> None:
        """Compile.

        Args:
            features: as declared, products and sums after what they are made of.
            vocabularies: names by arm attribute (`category`), in the order of the arrays.

        Raises:
            PolicySpecError: two columns of one name, a product or sum of an unknown column, an attribute
                without a vocabulary.
        """
        self._vocabularies = {key: tuple(names) for key, names in vocabularies.items()}
        self._names: list[str] = []
        # What is read of users, and of which attribute's vocabulary it is an array; and what is of arms.
        self._sources: list[Source] = []
        self._reads: list[tuple[str, str | None]] = []
        self._numbers: list[Source] = []
        self._of_arms = ArmColumns(self._vocabularies)
        self._made: list[Made] = []
        self._made_of_arms: list[Made] = []
        # The columns that are made of others, in their order, and how.
        self._combined: list[tuple[slice, Callable[[FloatArray], FloatArray]]] = []
        for feature in features:
            self._declare(feature)
        if doubles := sorted({name for name in self._names if self._names.count(name) > 1}):
            raise PolicySpecError(f"features: two columns are named {doubles[0]!r}; give one another `name`")
        self._freeze()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in their order."""
        return self._column_names

    @property
    def inputs(self) -> frozenset[str]:
        """Names of the user's features that are read; a decision must record these."""
        return self._inputs

    def filled(self, values: Mapping[str, float | None]) -> dict[str, Any]:
        """Return features of a user whose every element of an array is its value here, as is every scalar."""
        widths = {name: len(self._vocabularies[at]) for name, at in self._reads if at is not None}
        return {
            name: value if value is None or name not in widths else [value] * widths[name]
            for name, value in values.items()
        }

    def matrix(self, features: Mapping[str, Any], arms: Sequence[Arm]) -> FloatArray:
        """Return the columns for each arm, shape (len(arms), len(names)), finite.

        Args:
            features: by name: a number, a boolean or None for a scalar, a sequence of numbers and None
                in the order of the vocabulary for an array; a name that is absent counts as null.

        Raises:
            FeaturesMismatch: a value of another kind or an array of another length.
        """
        matrix: FloatArray = self.matrices({name: [value] for name, value in features.items()}, 1, arms)[0]
        return matrix

    def rows(self, features: Mapping[str, Sequence[Any]], arms: Sequence[Arm]) -> FloatArray:
        """Return the columns of many users, of one arm each, shape (n, len(names)), as `matrix` gives them.

        Args:
            features: by name each user's value, all that are `inputs`.

        Raises:
            FeaturesMismatch: as `matrix`.
        """
        each = {id(arm): arm for arm in arms}
        places = {arm: place for place, arm in enumerate(each)}
        which = np.array([places[id(arm)] for arm in arms], dtype=np.intp)
        of_arms = self._of_arms.of(list(each.values()))
        values = np.empty((len(arms), len(self._reads)))
        for source, (name, at) in enumerate(self._reads):
            if at is None:
                values[:, source] = numbers_of(name, features[name])
            else:
                places_in = of_arms.positions[at][which].tolist()
                values[:, source] = picked(name, features[name], places_in, len(self._vocabularies[at]))
        places_of = of_arms.own[:, which] + self._picked.size
        for column, start in self._picked.made.items():
            places_of[column] = start
        cells = _with_arms(self._picked, values, of_arms.cells)
        columns = self._with_combined(cells[np.arange(len(arms)), places_of])
        return np.ascontiguousarray(columns.swapaxes(-1, -2))

    def matrices(self, features: Mapping[str, Sequence[Any]], users: int, arms: Sequence[Arm]) -> FloatArray:
        """Return the columns for many users and each arm, shape (users, len(arms), len(names)).

        Each user's are what `matrix` returns for them.

        Args:
            features: by name each user's value, in their order; a name that is absent counts as null.

        Raises:
            FeaturesMismatch: a value of another kind or an array of another length.
        """
        of_arms = self._of_arms.of(arms)
        values = np.full((users, self._whole.width), np.nan)
        for name, cells in self._arrays:
            fill(values[:, cells], name, features.get(name))
        if self._scalars:
            told = [features.get(name) for name in self._scalars]
            values[:, self._at_scalars] = numbers_of_each(self._scalars, told, users)
        made = _with_arms(self._whole, values, of_arms.cells)
        return self._with_combined(made.take(of_arms.places, axis=1)).swapaxes(-1, -2)

    def _with_combined(self, columns: FloatArray) -> FloatArray:
        """Make the columns that are made of others, (…, columns, n)."""
        for made, combine in self._combined:
            np.clip(combine(columns), -LARGEST, LARGEST, out=columns[..., made, :])
        return columns

    def _declare(self, feature: Feature) -> None:
        if isinstance(feature, OneHot):
            self._names += self._of_arms.one_hot(len(self._names), self._attribute(feature.one_hot))
        elif isinstance(feature, Steps):
            self._names += self._of_arms.steps(len(self._names), self._attribute(feature.steps))
        elif isinstance(feature, Product):
            self._multiply(feature.names, [feature.product], "product")
        elif isinstance(feature, Cross):
            self._multiply(feature.names, feature.pairs, "cross")
        elif isinstance(feature, Sum):
            weights = {self._column(name, "sum"): weight for name, weight in feature.sum.items()}
            self._combine([feature.name], partial(summed, weights, feature.least))
        elif isinstance(feature, Rate):
            sources = [self._source(name, feature.at) for name in feature.rate]
            self._made.append(Made(len(self._names), feature, sources))
            self._names.append(feature.name)
        else:
            self._declare_numeric(feature)

    def _multiply(self, names: Sequence[str], pairs: Sequence[tuple[str, str]], where: str) -> None:
        left, right = ([self._column(name, where) for name in side] for side in zip(*pairs, strict=True))
        self._combine(names, partial(times, left, right))

    def _combine(self, names: Sequence[str], how: Callable[[FloatArray], FloatArray]) -> None:
        self._combined.append((slice(len(self._names), len(self._names) + len(names)), how))
        self._names += names

    def _declare_numeric(self, feature: FromArray | FromScalar | ArmNumber) -> None:
        made = self._made
        if isinstance(feature, FromArray):
            name = feature.name
            source = self._source(feature.from_, feature.at, feature.scale, feature.cap)
        elif isinstance(feature, FromScalar):
            name = feature.name or feature.scalar
            source = self._source(feature.scalar, None, feature.scale, feature.cap)
        else:
            attribute = feature.number.removeprefix("arm.")
            name = feature.name or attribute
            made, source = self._made_of_arms, len(self._numbers)
            self._numbers.append(Source(feature.scale, feature.cap))
            self._of_arms.number(attribute)
        for transform in feature.transform:
            made.append(Made(len(self._names), transform, [source]))
            self._names.append(name if transform == "raw" else f"{name}.{transform}")
        if feature.missing:
            made.append(Made(len(self._names), "missing", [source]))
            self._names.append(f"{name}.missing")

    def _source(self, name: str, at: str | None, scale: float = 1.0, cap: float = LARGEST) -> int:
        """Have a feature of the user read, as an array's element of the arm's attribute or as a scalar."""
        self._reads.append((name, None if at is None else self._attribute(at)))
        self._sources.append(Source(scale, cap))
        return len(self._sources) - 1

    def _attribute(self, path: str) -> str:
        attribute = path.removeprefix("arm.")
        if attribute not in self._vocabularies:
            known = ", ".join(f"arm.{name}" for name in self._vocabularies) or "none"
            raise PolicySpecError(f"features: {path} has no vocabulary; those known are: {known}")
        return attribute

    def _column(self, name: str, where: str) -> int:
        if name not in self._names:
            raise PolicySpecError(
                f"features: the {where} names the column {name!r}, which is not declared above it; "
                f"columns so far: {', '.join(self._names) or 'none'}"
            )
        return self._names.index(name)

    def _freeze(self) -> None:
        """Lay out what is read of users: each array whole, or of each the number that belongs to one arm."""
        self._column_names = tuple(self._names)
        self._inputs = frozenset(name for name, _ in self._reads)
        # One cell more than there are names: where arms without the attribute find "missing".
        widths = [1 if at is None else len(self._vocabularies[at]) + 1 for _, at in self._reads]
        self._whole = Cells(self._sources, self._made, widths)
        self._picked = Cells(self._sources, self._made, [1] * len(widths))
        starts = self._whole.starts
        read = list(zip(self._reads, starts, widths, strict=True))
        self._arrays = [(name, slice(at, at + width - 1)) for (name, of), at, width in read if of is not None]
        self._scalars = [name for name, of in self._reads if of is None]
        self._at_scalars = side_by_side([range(at, at + 1) for (_, of), at, _ in read if of is None])
        numbers = Cells(self._numbers, self._made_of_arms, [1] * len(self._numbers))
        attributes = {one.column: self._reads[one.sources[0]][1] for one in self._made}
        self._of_arms.freeze(len(self._names), numbers, self._whole, attributes)


def _with_arms(of_users: Cells, values: FloatArray, of_arms: FloatArray) -> FloatArray:
    """Return what is made of users' values (n, width), and behind it what arms make by themselves."""
    made = np.empty((len(values), of_users.size + len(of_arms)))
    of_users.worked_out(values, made[:, : of_users.size])
    made[:, of_users.size :] = of_arms
    return made
