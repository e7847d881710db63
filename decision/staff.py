"""The routes of people and their tasks, put together for one service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Request

from audiences.crm.signatures import Signatures
from decision.auth.callers import caller_of
from decision.webhook_secrets import webhook_secrets
from delivery.people import api, staff_api
from delivery.people.answering import SOURCE

if TYPE_CHECKING:
    from decision.wiring import Service


def add_routes(app: FastAPI, service: Service) -> None:
    """Add the routes of tasks, of the staff, and by which other systems bring results."""
    delivery = service.delivery
    signatures = Signatures(webhook_secrets(service.settings))

    def verify(request: Request, body: bytes) -> str:
        return signatures.verify(SOURCE, request.headers, body)

    app.include_router(api.router(delivery.desk, delivery.histories, caller_of))
    app.include_router(staff_api.router(delivery, caller_of))
    staff_api.add_callback_route(app, delivery, verify)
