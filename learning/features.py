"""User × arm features as data, compiled to one function from a user's features to a matrix.

    features:
      - {name: rate_12w, from: category_rate_12w, at: arm.category, transform: [raw, sqrt]}
      - {scalar: orders_4w, transform: [log1p], cap: 50, missing: true}
      - {one_hot: arm.category}
      - {product: [rate_12w, orders_4w.log1p]}

`from … at` picks from an array over a vocabulary the number that belongs to the arm's attribute; a scalar is
the same for every arm. Nulls, NaN and infinities become 0, and `missing: true` adds a column that is 1 there.
Columns are named `rate_12w`, `rate_12w.sqrt`, `orders_4w.missing`, `category=<name>`, `<one>*<other>`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from learning.errors import FeaturesMismatch, PolicySpecError
from playbooks.models import Arm

FloatArray = NDArray[np.float64]

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
ArmAttribute = Annotated[str, Field(pattern=r"^arm\.[a-z][a-z0-9_]{0,63}$")]
Transform = Literal["raw", "sqrt", "log1p"]

# Larger magnitudes are cut: 32-bit weights could not learn from them.
LARGEST = 1e6
# Arm lists whose positions are remembered; users of one placement share a handful of them.
_REMEMBERED_LISTS = 1024


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class _Numeric(_Document):
    transform: list[Transform] = Field(default=["raw"], min_length=1)
    scale: float = Field(default=1.0, allow_inf_nan=False)
    cap: float = Field(default=LARGEST, gt=0, le=LARGEST)
    missing: bool = False


class FromArray(_Numeric):
    """The element of array feature `from` that belongs to the arm's attribute."""

    name: Name
    from_: Name = Field(alias="from")
    at: ArmAttribute


class FromScalar(_Numeric):
    """A scalar feature of the user, the same for every arm."""

    scalar: Name
    name: Name | None = None


class OneHot(_Document):
    """One column for each name of the attribute's vocabulary."""

    one_hot: ArmAttribute


class Product(_Document):
    """The product of two columns declared above."""

    product: tuple[str, str]


def _kind(value: Any) -> str | None:
    keys = value if isinstance(value, Mapping) else value.model_dump(by_alias=True)
    return next((key for key in ("from", "scalar", "one_hot", "product") if key in keys), None)


Feature = Annotated[
    Annotated[FromArray, Tag("from")]
    | Annotated[FromScalar, Tag("scalar")]
    | Annotated[OneHot, Tag("one_hot")]
    | Annotated[Product, Tag("product")],
    Discriminator(
        _kind,
        custom_error_type="feature_kind",
        custom_error_message="a feature needs one of the keys 'from', 'scalar', 'one_hot' or 'product'",
    ),
]

# The sign is kept, so that a negative value is no error and order is preserved.
_FUNCTIONS: dict[Transform, Callable[[FloatArray], FloatArray]] = {
    "raw": lambda x: x,
    "sqrt": lambda x: np.copysign(np.sqrt(np.abs(x)), x),
    "log1p": lambda x: np.copysign(np.log1p(np.abs(x)), x),
}


class FeatureSet:
    """Features compiled against vocabularies: `matrix` is pure and may be called from many threads."""

    def __init__(self, features: Sequence[Feature], vocabularies: Mapping[str, Sequence[str]]) -> None:
        """Compile.

        Args:
            features: as declared, products after what they multiply.
            vocabularies: names by arm attribute (`category`), in the order of the arrays.

        Raises:
            PolicySpecError: two columns of one name, a product of an unknown column, an attribute without
                a vocabulary.
        """
        self._vocabularies = {key: tuple(names) for key, names in vocabularies.items()}
        self._names: list[str] = []
        self._arrays: dict[str, list[tuple[int, str]]] = {}
        self._scalars: list[tuple[int, str]] = []
        self._scales: list[float] = []
        self._caps: list[float] = []
        self._transforms: dict[Transform, list[tuple[int, int]]] = {}
        self._missing: list[tuple[int, int]] = []
        self._one_hots: list[tuple[int, str]] = []
        self._products: list[tuple[int, int, int]] = []
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
        positions, constant = self._positions_of(arms)
        gathered = np.empty((len(self._scales), len(arms)))
        row = 0
        for attribute, arrays in self._arrays.items():
            width = len(self._vocabularies[attribute])
            # One place more than there are names: where arms without the attribute find "missing".
            table = np.full((len(arrays), width + 1), np.nan)
            for place, (_, name) in enumerate(arrays):
                value = features.get(name)
                if value is not None:
                    self._fill(table[place, :width], name, value)
            gathered[row : row + len(arrays)] = table[:, positions[attribute]]
            row += len(arrays)
        for _, name in self._scalars:
            gathered[row] = _number(name, features.get(name))
            row += 1
        return self._columns(gathered, constant)

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
        positions, constant = self._positions_of(list(each.values()))
        gathered = np.empty((len(self._scales), len(arms)))
        row = 0
        for attribute, arrays in self._arrays.items():
            at = positions[attribute][which].tolist()
            width = len(self._vocabularies[attribute])
            for _, name in arrays:
                gathered[row] = _picked(name, features[name], at, width)
                row += 1
        for _, name in self._scalars:
            gathered[row] = _numbers(name, features[name])
            row += 1
        return np.ascontiguousarray(self._columns(gathered, constant[:, which]))

    def matrices(self, features: Mapping[str, Sequence[Any]], users: int, arms: Sequence[Arm]) -> FloatArray:
        """Return the columns for many users and each arm, shape (users, len(arms), len(names)).

        Each user's are what `matrix` returns for them.

        Args:
            features: by name each user's value, in their order; a name that is absent counts as null.

        Raises:
            FeaturesMismatch: a value of another kind or an array of another length.
        """
        positions, constant = self._positions_of(arms)
        gathered = np.empty((users, len(self._scales), len(arms)))
        row = 0
        for attribute, arrays in self._arrays.items():
            width = len(self._vocabularies[attribute])
            table = np.full((users, len(arrays), width + 1), np.nan)
            for place, (_, name) in enumerate(arrays):
                self._fill_many(table[:, place, :width], name, features.get(name))
            gathered[:, row : row + len(arrays)] = table[:, :, positions[attribute]]
            row += len(arrays)
        for _, name in self._scalars:
            values = [_number(name, value) for value in features.get(name) or [None] * users]
            gathered[:, row] = np.array(values)[:, None]
            row += 1
        return self._columns(gathered, constant)

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
        for target_row, left, right in self._products:
            product = columns[..., left, :] * columns[..., right, :]
            np.clip(product, -LARGEST, LARGEST, out=columns[..., target_row, :])
        return columns.swapaxes(-1, -2)

    def _declare(self, feature: Feature) -> None:
        if isinstance(feature, OneHot):
            attribute = self._attribute(feature.one_hot)
            self._one_hots.append((len(self._names), attribute))
            self._names += [f"{attribute}={name}" for name in self._vocabularies[attribute]]
        elif isinstance(feature, Product):
            left, right = (self._column(name) for name in feature.product)
            self._products.append((len(self._names), left, right))
            self._names.append("*".join(feature.product))
        else:
            self._declare_numeric(feature)

    def _declare_numeric(self, feature: FromArray | FromScalar) -> None:
        source = len(self._scales)
        self._scales.append(feature.scale)
        self._caps.append(feature.cap)
        if isinstance(feature, FromArray):
            name = feature.name
            self._arrays.setdefault(self._attribute(feature.at), []).append((source, feature.from_))
        else:
            name = feature.name or feature.scalar
            self._scalars.append((source, feature.scalar))
        for transform in feature.transform:
            self._transforms.setdefault(transform, []).append((source, len(self._names)))
            self._names.append(name if transform == "raw" else f"{name}.{transform}")
        if feature.missing:
            self._missing.append((source, len(self._names)))
            self._names.append(f"{name}.missing")

    def _attribute(self, path: str) -> str:
        attribute = path.removeprefix("arm.")
        if attribute not in self._vocabularies:
            known = ", ".join(f"arm.{name}" for name in self._vocabularies) or "none"
            raise PolicySpecError(f"features: {path} has no vocabulary; those known are: {known}")
        return attribute

    def _column(self, name: str) -> int:
        if name not in self._names:
            raise PolicySpecError(
                f"features: the product names the column {name!r}, which is not declared above it; "
                f"columns so far: {', '.join(self._names) or 'none'}"
            )
        return self._names.index(name)

    def _freeze(self) -> None:
        """Lay rows out as `matrix` fills them: arrays by attribute, then scalars."""
        order = [source for arrays in self._arrays.values() for source, _ in arrays]
        order += [source for source, _ in self._scalars]
        row_of = {source: row for row, source in enumerate(order)}
        self._scale_column = np.array([self._scales[source] for source in order], dtype=np.float64)[:, None]
        self._cap_column = np.array([self._caps[source] for source in order], dtype=np.float64)[:, None]
        self._steps = [
            (_FUNCTIONS[name], np.array([row_of[s] for s, _ in pairs]), np.array([t for _, t in pairs]))
            for name, pairs in self._transforms.items()
        ]
        self._missing_source = np.array([row_of[s] for s, _ in self._missing], dtype=np.intp)
        self._missing_target = np.array([t for _, t in self._missing], dtype=np.intp)
        self._column_names = tuple(self._names)
        arrays = {name for pairs in self._arrays.values() for _, name in pairs}
        self._inputs = frozenset(arrays | {name for _, name in self._scalars})
        self._places = {
            attribute: {name: place for place, name in enumerate(names)}
            for attribute, names in self._vocabularies.items()
        }
        # Keyed by identity: hashing an arm's attributes would cost more than looking them up. The value
        # holds the arms, so an identity can't pass to another object while it is remembered.
        self._remembered: dict[
            tuple[int, ...], tuple[tuple[Arm, ...], dict[str, NDArray[np.intp]], FloatArray]
        ] = {}

    def _positions_of(self, arms: Sequence[Arm]) -> tuple[dict[str, NDArray[np.intp]], FloatArray]:
        key = tuple(map(id, arms))
        known = self._remembered.get(key)
        if known is not None:
            return known[1], known[2]
        positions = {
            attribute: np.array(
                [places.get(arm.attributes.get(attribute, ""), len(places)) for arm in arms], dtype=np.intp
            )
            for attribute, places in self._places.items()
        }
        constant = np.zeros((len(self._names), len(arms)))
        for start, attribute in self._one_hots:
            for column, place in enumerate(positions[attribute]):
                if place < len(self._vocabularies[attribute]):
                    constant[start + place, column] = 1.0
        if len(self._remembered) >= _REMEMBERED_LISTS:
            self._remembered = {}
        self._remembered[key] = (tuple(arms), positions, constant)
        return positions, constant

    @classmethod
    def _fill_many(cls, rows: FloatArray, name: str, values: Sequence[Any] | None) -> None:
        """Fill an array feature of many users; null stays NaN."""
        known = [place for place, value in enumerate(values or ()) if value is not None]
        if len(known) < len(rows):
            for place in known:
                cls._fill(rows[place], name, (values or ())[place])
        else:
            cls._fill(rows, name, values)

    @staticmethod
    def _fill(row: FloatArray, name: str, value: Any) -> None:
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise FeaturesMismatch(f"the feature {name!r} must be an array of numbers: {error}") from error
        if array.shape != row.shape:
            raise FeaturesMismatch(
                f"the feature {name!r} has shape {array.shape}, its vocabulary has {row.shape[-1]} names"
            )
        row[:] = array


def _number(name: str, value: Any) -> float:
    if value is None:
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise FeaturesMismatch(f"the feature {name!r} must be a number, not {value!r}") from error


def _picked(name: str, arrays: Sequence[Any], places: Sequence[int], width: int) -> FloatArray:
    """Return of each array the number at its place; the place `width` is nowhere."""
    for value in arrays:
        if value is not None and (not isinstance(value, list | tuple) or len(value) != width):
            raise FeaturesMismatch(
                f"the feature {name!r} must be an array of {width} numbers, one for each name"
            )
    cells = [
        None if value is None or place == width else value[place]
        for value, place in zip(arrays, places, strict=True)
    ]
    return _numbers(name, cells)


def _numbers(name: str, values: Sequence[Any]) -> FloatArray:
    """Return numbers of many users, NaN for null."""
    try:
        found = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FeaturesMismatch(f"the feature {name!r} must be made of numbers: {error}") from error
    if found.shape != (len(values),):
        raise FeaturesMismatch(f"the feature {name!r} must be made of numbers, not of arrays")
    return found
