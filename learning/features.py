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
from learning.feature_columns import (
    FUNCTIONS,
    fill,
    fill_many,
    number_of,
    numbers_of,
    picked,
    summed,
    times,
)
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
    Transform,
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
        self._arrays: dict[str, list[tuple[int, str]]] = {}
        self._scalars: list[tuple[int, str]] = []
        self._numbers: list[int] = []
        self._of_arms = ArmColumns(self._vocabularies)
        self._rates: list[tuple[int, int, int, Rate]] = []
        self._scales: list[float] = []
        self._caps: list[float] = []
        self._transforms: dict[Transform, list[tuple[int, int]]] = {}
        self._missing: list[tuple[int, int]] = []
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
        widths = {
            name: len(self._vocabularies[attribute])
            for attribute, arrays in self._arrays.items()
            for _, name in arrays
        }
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
        of_arms = self._of_arms.of(arms, len(self._names))
        gathered = np.empty((len(self._scales), len(arms)))
        row = 0
        for attribute, arrays in self._arrays.items():
            width = len(self._vocabularies[attribute])
            # One place more than there are names: where arms without the attribute find "missing".
            table = np.full((len(arrays), width + 1), np.nan)
            for place, (_, name) in enumerate(arrays):
                value = features.get(name)
                if value is not None:
                    fill(table[place, :width], name, value)
            gathered[row : row + len(arrays)] = table[:, of_arms.positions[attribute]]
            row += len(arrays)
        for _, name in self._scalars:
            gathered[row] = number_of(name, features.get(name))
            row += 1
        gathered[row:] = of_arms.numbers
        return self._columns(gathered, of_arms.constant)

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
        of_arms = self._of_arms.of(list(each.values()), len(self._names))
        gathered = np.empty((len(self._scales), len(arms)))
        row = 0
        for attribute, arrays in self._arrays.items():
            at = of_arms.positions[attribute][which].tolist()
            width = len(self._vocabularies[attribute])
            for _, name in arrays:
                gathered[row] = picked(name, features[name], at, width)
                row += 1
        for _, name in self._scalars:
            gathered[row] = numbers_of(name, features[name])
            row += 1
        gathered[row:] = of_arms.numbers[:, which]
        return np.ascontiguousarray(self._columns(gathered, of_arms.constant[:, which]))

    def matrices(self, features: Mapping[str, Sequence[Any]], users: int, arms: Sequence[Arm]) -> FloatArray:
        """Return the columns for many users and each arm, shape (users, len(arms), len(names)).

        Each user's are what `matrix` returns for them.

        Args:
            features: by name each user's value, in their order; a name that is absent counts as null.

        Raises:
            FeaturesMismatch: a value of another kind or an array of another length.
        """
        of_arms = self._of_arms.of(arms, len(self._names))
        gathered = np.empty((users, len(self._scales), len(arms)))
        row = 0
        for attribute, arrays in self._arrays.items():
            width = len(self._vocabularies[attribute])
            table = np.full((users, len(arrays), width + 1), np.nan)
            for place, (_, name) in enumerate(arrays):
                fill_many(table[:, place, :width], name, features.get(name))
            gathered[:, row : row + len(arrays)] = table[:, :, of_arms.positions[attribute]]
            row += len(arrays)
        for _, name in self._scalars:
            gathered[:, row] = numbers_of(name, features.get(name) or [None] * users)[:, None]
            row += 1
        gathered[:, row:] = of_arms.numbers
        return self._columns(gathered, of_arms.constant)

    def _columns(self, gathered: FloatArray, constant: FloatArray) -> FloatArray:
        """Make columns of what was gathered, (…, sources, n) and (columns, n) → (…, n, columns)."""
        present = np.isfinite(gathered)
        gathered[~present] = 0.0
        with np.errstate(over="ignore"):
            gathered *= self._scale_column
        np.clip(gathered, -self._cap_column, self._cap_column, out=gathered)
        columns = np.empty((*gathered.shape[:-2], *constant.shape))
        columns[...] = constant
        for function, source, target in self._steps:
            columns[..., target, :] = function(gathered[..., source, :])
        if self._missing:
            columns[..., self._missing_target, :] = ~present[..., self._missing_source, :]
        if self._rates:
            taken, tried = (np.maximum(gathered[..., source, :], 0.0) for source in self._rate_sources)
            columns[..., self._rate_target, :] = (taken + self._rate_prior) / (tried + self._rate_pull)
        for made, combine in self._combined:
            np.clip(combine(columns), -LARGEST, LARGEST, out=columns[..., made, :])
        return columns.swapaxes(-1, -2)

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
            taken, tried = (self._source(name, feature.at) for name in feature.rate)
            self._rates.append((len(self._names), taken, tried, feature))
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
        if isinstance(feature, FromArray):
            name = feature.name
            source = self._source(feature.from_, feature.at, feature.scale, feature.cap)
        elif isinstance(feature, FromScalar):
            name = feature.name or feature.scalar
            source = self._source(feature.scalar, None, feature.scale, feature.cap)
        else:
            attribute = feature.number.removeprefix("arm.")
            name = feature.name or attribute
            source = self._scaled(feature.scale, feature.cap)
            self._numbers.append(source)
            self._of_arms.number(attribute)
        for transform in feature.transform:
            self._transforms.setdefault(transform, []).append((source, len(self._names)))
            self._names.append(name if transform == "raw" else f"{name}.{transform}")
        if feature.missing:
            self._missing.append((source, len(self._names)))
            self._names.append(f"{name}.missing")

    def _source(self, name: str, at: str | None, scale: float = 1.0, cap: float = LARGEST) -> int:
        """Have a feature of the user read, as an array's element of the arm's attribute or as a scalar."""
        source = self._scaled(scale, cap)
        if at is None:
            self._scalars.append((source, name))
        else:
            self._arrays.setdefault(self._attribute(at), []).append((source, name))
        return source

    def _scaled(self, scale: float, cap: float) -> int:
        self._scales.append(scale)
        self._caps.append(cap)
        return len(self._scales) - 1

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
        """Lay rows out as `matrix` fills them: arrays by attribute, then scalars, then numbers of arms."""
        order = [source for arrays in self._arrays.values() for source, _ in arrays]
        order += [source for source, _ in self._scalars]
        order += self._numbers
        row_of = {source: row for row, source in enumerate(order)}
        self._scale_column = np.array([self._scales[source] for source in order], dtype=np.float64)[:, None]
        self._cap_column = np.array([self._caps[source] for source in order], dtype=np.float64)[:, None]
        self._steps = [
            (FUNCTIONS[name], np.array([row_of[s] for s, _ in pairs]), np.array([t for _, t in pairs]))
            for name, pairs in self._transforms.items()
        ]
        self._missing_source = np.array([row_of[s] for s, _ in self._missing], dtype=np.intp)
        self._missing_target = np.array([t for _, t in self._missing], dtype=np.intp)
        self._rate_target = np.array([target for target, *_ in self._rates], dtype=np.intp)
        self._rate_sources = np.array([[row_of[k], row_of[n]] for _, k, n, _ in self._rates], dtype=np.intp).T
        self._rate_pull = np.array([one.pull for *_, one in self._rates])[:, None]
        self._rate_prior = np.array([one.pull * one.towards for *_, one in self._rates])[:, None]
        self._column_names = tuple(self._names)
        arrays = {name for pairs in self._arrays.values() for _, name in pairs}
        self._inputs = frozenset(arrays | {name for _, name in self._scalars})
