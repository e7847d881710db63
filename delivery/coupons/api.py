"""HTTP routes of coupons: the checkout's, and the desk's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Path, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from delivery.coupons.asking import LONGEST, RESERVED_FOR, Asked
from delivery.coupons.checkout import Checkout
from delivery.coupons.desk import Desk
from delivery.coupons.discount import Basket, Item
from delivery.coupons.errors import BasketUnsound
from delivery.coupons.guessing import Guesses, Trying
from delivery.coupons.sharing import Shared, Sharing
from delivery.coupons.stock import Line, Stock
from playbooks.money import MixedCurrencies, Money, one_currency

Code = Annotated[str, Path(min_length=1, max_length=32, pattern=r"^[^\x00]*$")]
Id = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f]*$")]
Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]
# A stock comes as one body, so that it is added whole; as many bytes as a library.
MAX_STOCK_BYTES = 64 * 1024 * 1024

Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]


class ItemBody(BaseModel):
    """A line of an order: what it is, and what all of it costs."""

    model_config = ConfigDict(extra="forbid")

    product: Text = ""
    category: Text = ""
    value: Money


class BasketBody(BaseModel):
    """An order before the coupon: what its goods come to, and the shipping beside that."""

    model_config = ConfigDict(extra="forbid")

    total: Money
    shipping: Money | None = None
    items: list[ItemBody] = Field(default=[], max_length=1000)

    def basket(self) -> Basket:
        """Return it in minor units.

        Raises:
            BasketUnsound: its amounts are of several currencies.
        """
        amounts: dict[str, Money | None] = {"total": self.total, "shipping": self.shipping}
        amounts |= {f"items.{place}.value": one.value for place, one in enumerate(self.items)}
        try:
            one_currency("the basket", amounts)
        except MixedCurrencies as error:
            raise BasketUnsound(str(error)) from error
        items = tuple(Item(one.value.amount, one.product, one.category) for one in self.items)
        return Basket(
            self.total.amount, self.total.currency, self.shipping.amount if self.shipping else 0, items
        )


class ValidateBody(BaseModel):
    """An order, whose it is, and the codes of other coupons that are used for it.

    `visitor` is the address or session of whoever typed the code: guesses are counted by it.
    """

    model_config = ConfigDict(extra="forbid")

    basket: BasketBody
    order_id: Id | None = None
    user_id: Id | None = None
    coupons: list[Id] = Field(default=[], max_length=50)
    visitor: Id | None = None

    def trying(self, key: str) -> Trying:
        """Return who tries the code, through a key."""
        return Trying(key, self.user_id or "", self.visitor or "")


class ReserveBody(ValidateBody):
    """An order that is about to be paid."""

    order_id: Id
    lasting: timedelta = Field(default=RESERVED_FOR, gt=timedelta(0), le=LONGEST)


class RedeemBody(BaseModel):
    """An order that is paid; without a basket, as it was reserved."""

    model_config = ConfigDict(extra="forbid")

    order_id: Id
    basket: BasketBody | None = None
    user_id: Id | None = None
    coupons: list[Id] = Field(default=[], max_length=50)
    visitor: Id | None = None

    def trying(self, key: str) -> Trying:
        """Return who tries the code, through a key."""
        return Trying(key, self.user_id or "", self.visitor or "")


class RollBackBody(BaseModel):
    """An order that does not take place."""

    model_config = ConfigDict(extra="forbid")

    order_id: Id


class ShareBody(BaseModel):
    """A code for many: `uses` orders may use it, or as many as the offer allows."""

    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, Field(min_length=4, max_length=32, pattern=r"^[A-Za-z0-9_-]+$")]
    offer: Annotated[str, Field(max_length=64)]
    uses: Annotated[int, Field(ge=1, le=10**9)] | None = None
    good_from: AwareDatetime | None = None
    until: AwareDatetime | None = None


class LineBody(BaseModel):
    """A code, and the line that it stands in."""

    model_config = ConfigDict(extra="forbid")

    line: Annotated[int, Field(ge=1)]
    code: str


class StockBody(BaseModel):
    """Codes for the stock of an offer."""

    model_config = ConfigDict(extra="forbid")

    offer: Annotated[str, Field(max_length=64)]
    codes: list[LineBody]


def stock_router(stock: Stock, who: Callable[[Request], str]) -> APIRouter:
    """Return the routes of stocks; `who` does what a request asks for."""
    routes = APIRouter(prefix="/v1", tags=["coupons"])

    @routes.get("/coupon-stock")
    def levels() -> dict[str, Any]:
        """Every stock of codes: how many were added, how many are left, and whether that is low."""
        return {"stocks": msgspec.to_builtins(stock.levels())}

    @routes.post("/coupon-stock", status_code=201)
    def add(request: Request, body: StockBody) -> dict[str, Any]:
        """Add codes to an offer's stock, all of them or none."""
        lines = [Line(one.line, one.code) for one in body.codes]
        return _told(stock.add(body.offer, lines, by=who(request)))

    return routes


def router(
    checkout: Checkout, desk: Desk, sharing: Sharing, guesses: Guesses, who: Callable[[Request], str]
) -> APIRouter:
    """Return the routes of the checkout, and of the desk beside it; `who` does what a request asks for."""
    routes = APIRouter(prefix="/v1", tags=["coupons"])

    def guarded(trying: Trying, asked: Asked, call: Callable[[], msgspec.Struct]) -> dict[str, Any]:
        return _told(guesses.guarded(trying, call, lambda: checkout.unknown(asked.coupons)))

    @routes.post("/coupons/{code}/validate")
    def validate(request: Request, code: Code, body: ValidateBody) -> dict[str, Any]:
        """What a coupon is worth to an order, in minor units, or every reason why it is not good for it."""
        asked = Asked(
            code, body.order_id or "", body.user_id or "", body.basket.basket(), tuple(body.coupons)
        )
        return guarded(body.trying(who(request)), asked, lambda: checkout.validate(asked))

    @routes.post("/coupons/{code}/reserve")
    def reserve(request: Request, code: Code, body: ReserveBody, key: Key = None) -> dict[str, Any]:
        """Hold a use of a coupon for an order, for a while."""
        basket, others = body.basket.basket(), tuple(body.coupons)
        asked = Asked(code, body.order_id, body.user_id or "", basket, others, body.lasting)
        return guarded(body.trying(who(request)), asked, lambda: checkout.reserve(asked, key))

    @routes.post("/coupons/{code}/redeem")
    def redeem(request: Request, code: Code, body: RedeemBody, key: Key = None) -> dict[str, Any]:
        """Use a coupon for an order, once."""
        basket = None if body.basket is None else body.basket.basket()
        asked = Asked(code, body.order_id, body.user_id or "", basket, tuple(body.coupons))
        return guarded(body.trying(who(request)), asked, lambda: checkout.redeem(asked, key))

    @routes.post("/coupons/{code}/rollback")
    def roll_back(request: Request, code: Code, body: RollBackBody, key: Key = None) -> dict[str, Any]:
        """Give back what an order reserved or redeemed, once."""
        asked = Asked(code, body.order_id)
        return guarded(Trying(who(request)), asked, lambda: checkout.roll_back(asked, key))

    @routes.post("/coupons", status_code=201)
    def share(request: Request, body: ShareBody) -> dict[str, Any]:
        """Make a code that many may use."""
        return _told(desk.show(sharing.share(Shared(**dict(body)), by=who(request))))

    @routes.post("/coupons/{code}/void")
    def void(request: Request, code: Code) -> dict[str, Any]:
        """Let an open coupon be good for nothing any more."""
        return _told(desk.void(code, by=who(request)))

    @routes.get("/coupons/{code}")
    def show(code: Code) -> dict[str, Any]:
        """A coupon, where it stands, and what orders did with it."""
        return _told(desk.show(code))

    @routes.get("/users/{user_id}/coupons")
    def of_user(user_id: str) -> dict[str, Any]:
        """The coupons of a user, oldest first."""
        return {"coupons": msgspec.to_builtins(desk.of_user(user_id))}

    return routes


def _told(answer: msgspec.Struct) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(answer)
    return told
