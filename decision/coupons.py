"""Coupons of one service: the checkout, the desk, shared codes and stocks, put together."""

from __future__ import annotations

from fastapi import FastAPI

from decision.auth import guard
from decision.wiring import Service
from delivery.coupons import api
from delivery.coupons.checkout import Checkout
from delivery.coupons.desk import Desk
from delivery.coupons.guessing import Guesses
from delivery.coupons.sharing import Sharing
from delivery.coupons.stock import Stock
from playbooks.library.shelf import offers_of


def add_coupon_routes(app: FastAPI, service: Service) -> None:
    """Add the routes of coupons."""
    database, clock, wallet = service.database, service.clock, service.delivery.wallet
    people = service.identity.people
    checkout = Checkout(database, clock, wallet, service.counters, service.intake, people)
    desk = Desk(database, clock, wallet, people)
    guesses = Guesses(database, clock, service.settings.coupon_guesses)
    sharing = Sharing(database, clock, offers_of)
    app.include_router(api.router(checkout, desk, sharing, guesses, guard.name_of))
    stock = Stock(database, clock, service.counters, offers_of)
    app.include_router(api.stock_router(stock, guard.name_of))
