"""The kinds of features that a policy's specification can declare, each one class."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
ArmAttribute = Annotated[str, Field(pattern=r"^arm\.[a-z][a-z0-9_]{0,63}$")]
Transform = Literal["raw", "sqrt", "log1p"]

Columns = Annotated[list[str], Field(min_length=1, max_length=64)]

# Larger magnitudes are cut: 32-bit weights could not learn from them.
LARGEST = 1e6


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


class ArmNumber(_Numeric):
    """An attribute of the arm that is a number."""

    number: ArmAttribute
    name: Name | None = None


class Rate(_Document):
    """A share of two counts of the user, drawn to what is usual: (k + pull × towards) / (n + pull).

    `rate` names the counts k and n, of which negative and unknown ones are 0. With `at` they are arrays, of
    which the numbers that belong to the arm's attribute are taken. Morris, "Parametric Empirical Bayes
    Inference" (JASA 1983): `pull` is how many trials a user's own have to outweigh.
    """

    name: Name
    rate: tuple[Name, Name]
    at: ArmAttribute | None = None
    pull: float = Field(gt=0, le=LARGEST)
    towards: float = Field(ge=0, le=1)


class OneHot(_Document):
    """One column for each name of the attribute's vocabulary."""

    one_hot: ArmAttribute


class Steps(_Document):
    """One column for each name of the attribute's vocabulary but the first: 1 for it and all after it.

    For vocabularies that are in an order, such as face values: a weight is what one more step makes, so
    neighbours are taken to be alike until they have shown to differ.
    """

    steps: ArmAttribute


class Product(_Document):
    """The product of two columns declared above."""

    product: tuple[str, str]

    @property
    def names(self) -> list[str]:
        """The name of its column."""
        return ["*".join(self.product)]


class Cross(_Document):
    """The product of each column of one list with each of another, all declared above."""

    cross: tuple[Columns, Columns]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """What is multiplied for each of its columns."""
        return list(product(*self.cross))

    @property
    def names(self) -> list[str]:
        """The names of its columns."""
        return ["*".join(pair) for pair in self.pairs]


class Sum(_Document):
    """A weighted sum of columns declared above, at least `least`."""

    name: Name
    sum: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(min_length=1)
    least: float = Field(default=-LARGEST, ge=-LARGEST, le=LARGEST)


_KINDS = {
    "from": FromArray,
    "scalar": FromScalar,
    "number": ArmNumber,
    "rate": Rate,
    "one_hot": OneHot,
    "steps": Steps,
    "product": Product,
    "cross": Cross,
    "sum": Sum,
}


def _kind(value: Any) -> str | None:
    keys = value if isinstance(value, Mapping) else value.model_dump(by_alias=True)
    return next((key for key in _KINDS if key in keys), None)


Feature = Annotated[
    Annotated[FromArray, Tag("from")]
    | Annotated[FromScalar, Tag("scalar")]
    | Annotated[ArmNumber, Tag("number")]
    | Annotated[Rate, Tag("rate")]
    | Annotated[OneHot, Tag("one_hot")]
    | Annotated[Steps, Tag("steps")]
    | Annotated[Product, Tag("product")]
    | Annotated[Cross, Tag("cross")]
    | Annotated[Sum, Tag("sum")],
    Discriminator(
        _kind,
        custom_error_type="feature_kind",
        custom_error_message="a feature needs one of the keys "
        + ", ".join(repr(key) for key in [*_KINDS][:-1])
        + f" or {[*_KINDS][-1]!r}",
    ),
]
