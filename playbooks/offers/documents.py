"""Offers as they are written in offers.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from playbooks.document import Document, Name
from playbooks.money import Money, one_currency, shown
from playbooks.offers.validity import Validity
from playbooks.offers.worth import liability_of

Kind = Literal["content_only", "fixed_amount", "percentage", "free_shipping", "gift", "points"]

# What giving it once takes, of each kind: the fields it needs, and those it may have.
_NEEDS: Mapping[str, frozenset[str]] = {
    "content_only": frozenset(),
    "fixed_amount": frozenset({"value"}),
    "percentage": frozenset({"percent", "ceiling"}),
    "free_shipping": frozenset({"cost"}),
    "gift": frozenset({"item", "cost"}),
    "points": frozenset({"points", "cost_per_1000_points"}),
}
_MAY = {"fixed_amount": frozenset({"ceiling"})}

# More than this, in minor units, is no offer to one user.
_MOST = 10**12
_HUNDREDTHS = 100

Text = Annotated[str, Field(min_length=1, max_length=200)]


class Scope(Document):
    """What the offer is good for; without products and categories, for everything."""

    products: Annotated[list[Text], Field(max_length=1000)] = []
    categories: Annotated[list[Text], Field(max_length=1000)] = []


class Stacking(Document):
    """What a coupon may be used together with: others whose `group` it names, if they name its own."""

    model_config = Validity.model_config

    group: Name
    with_: Annotated[list[Name], Field(alias="with", min_length=1, max_length=50)]


class Redemptions(Document):
    """How often the offer's coupons may be redeemed, by one user and by all; without limit unless said."""

    per_user: Annotated[int | None, Field(ge=1, le=10**9)] = None
    in_all: Annotated[int | None, Field(ge=1, le=10**9)] = None


class CostModel(Document):
    """What giving the offer once is expected to cost: `stated`, or the share of coupons that is redeemed.

    `basket` is what a redeeming user is expected to buy for, where a percentage is taken off.
    """

    stated: Money | None = None
    redemption: Annotated[float, Field(gt=0, le=1)] = 1.0
    basket: Money | None = None

    @model_validator(mode="after")
    def _one_way(self) -> CostModel:
        if self.stated is not None and (self.redemption, self.basket) != (1.0, None):
            raise ValueError("a stated cost takes neither `redemption` nor `basket`")
        return self


class Offer(Document):
    """What is given. `attributes` describe it to the value model and to rules (`arm.<attribute>`).

    `ceiling` is the most that one coupon may take off. `maximum_liability` is the most that all its open
    coupons together may cost at worst, `stock` how many there are. With `codes: stock` its codes are
    imported, and there are as many as were added.
    """

    id: Name
    name: Annotated[str, Field(min_length=1, max_length=200)]
    kind: Kind = "content_only"
    value: Annotated[Money | None, Field(validate_default=True)] = None
    percent: Annotated[float | None, Field(gt=0, le=100, validate_default=True)] = None
    ceiling: Annotated[Money | None, Field(validate_default=True)] = None
    cost: Annotated[Money | None, Field(validate_default=True)] = None
    item: Annotated[Text | None, Field(validate_default=True)] = None
    points: Annotated[int | None, Field(ge=1, le=10**9, validate_default=True)] = None
    cost_per_1000_points: Annotated[Money | None, Field(validate_default=True)] = None
    minimum_spend: Money | None = None
    scope: Scope = Scope()
    validity: Validity = Validity(for_=timedelta(days=14))
    stacking: Stacking | Literal["alone"] = "alone"
    redemptions: Redemptions = Redemptions()
    codes: Literal["generated", "stock"] = "generated"
    cost_model: CostModel = CostModel()
    maximum_liability: Money | None = None
    stock: Annotated[int | None, Field(ge=0, le=10**9)] = None
    attributes: Annotated[dict[str, str], Field(max_length=100)] = {}

    @model_validator(mode="before")
    @classmethod
    def _valid_for(cls, values: Any) -> Any:
        # As versions were kept before there were other ends than that of a duration.
        if isinstance(values, dict) and "valid_for" in values and "validity" not in values:
            rest = {name: value for name, value in values.items() if name != "valid_for"}
            return rest | {"validity": {"for": values["valid_for"]}}
        return values

    @field_validator("value", "percent", "ceiling", "cost", "item", "points", "cost_per_1000_points")
    @classmethod
    def _of_its_kind(cls, given: Any, info: ValidationInfo) -> Any:
        kind, name = info.data.get("kind"), info.field_name or ""
        if kind is None:
            return given
        needs = _NEEDS[kind]
        if given is None and name in needs:
            raise ValueError(f"an offer of the kind {kind} needs {name}")
        if given is not None and name not in needs | _MAY.get(kind, frozenset()):
            takes = ", ".join(sorted(needs | _MAY.get(kind, frozenset()))) or "none of these"
            raise ValueError(f"an offer of the kind {kind} has no {name}; it takes {takes}")
        return given

    @field_validator("percent")
    @classmethod
    def _hundredths(cls, percent: float | None) -> float | None:
        if percent is not None and round(percent * _HUNDREDTHS) / _HUNDREDTHS != percent:
            raise ValueError(f"{percent:g} has more than two decimals")
        return percent

    @field_validator("value", "ceiling", "cost", "cost_per_1000_points", "minimum_spend")
    @classmethod
    def _sane(cls, money: Money | None, info: ValidationInfo) -> Money | None:
        if money is None:
            return None
        if money.amount > _MOST:
            raise ValueError(f"{money} for one user is absurd; the most is {shown(_MOST, money.currency)}")
        if money.amount == 0 and info.field_name not in ("cost", "cost_per_1000_points"):
            raise ValueError(f"{money} is nothing; leave {info.field_name} out, or say how much")
        return money

    @model_validator(mode="after")
    def _sound(self) -> Offer:
        if self.codes == "stock" and self.stock is not None:
            raise ValueError("with codes: stock there are as many as were added; leave `stock` out")
        one_currency("the offer", self.amounts)
        if self.kind == "content_only" and any(self.amounts.values()):
            given = ", ".join(name for name, money in self.amounts.items() if money)
            raise ValueError(f"an offer of the kind content_only costs nothing, it takes no {given}")
        if self.cost_model.basket is not None and self.kind != "percentage":
            raise ValueError(f"cost_model.basket is for percentages, this offer is of the kind {self.kind}")
        if self.value is not None and self.ceiling is not None and self.value > self.ceiling:
            raise ValueError(f"the value {self.value} is above the ceiling {self.ceiling}")
        basket, spend = self.cost_model.basket, self.minimum_spend
        if basket is not None and spend is not None and basket < spend:
            raise ValueError(f"cost_model.basket {basket} is below the minimum_spend {spend}")
        self._worth()
        return self

    def _worth(self) -> None:
        liability, most, stated = liability_of(self), self.maximum_liability, self.cost_model.stated
        if liability is None:
            return
        if most is not None and most < liability:
            raise ValueError(f"one coupon may cost {liability}, which is above the maximum_liability {most}")
        if stated is not None and stated > liability:
            raise ValueError(f"cost_model.stated {stated} is above what one coupon may cost, {liability}")

    @property
    def amounts(self) -> dict[str, Money | None]:
        """Every amount of money in the offer, by the name of its field."""
        return {
            "value": self.value,
            "ceiling": self.ceiling,
            "cost": self.cost,
            "cost_per_1000_points": self.cost_per_1000_points,
            "minimum_spend": self.minimum_spend,
            "maximum_liability": self.maximum_liability,
            "cost_model.stated": self.cost_model.stated,
            "cost_model.basket": self.cost_model.basket,
        }
