"""The routes of people and their tasks, put together for one service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Request

from audiences.crm.signatures import Signatures
from decision.auth.callers import caller_of, caller_with
from decision.auth.errors import ScopeMissing
from decision.auth.models import Scope
from decision.auth.service import Keys
from decision.auth.verifier import Verifier
from decision.webhook_secrets import webhook_secrets
from delivery.people import api, staff_api
from delivery.people.answering import SOURCE
from delivery.people.inbox import Inbox, add_inbox_routes
from delivery.people.models import Caller

if TYPE_CHECKING:
    from decision.wiring import Service


def add_routes(app: FastAPI, service: Service, keys: Keys) -> None:
    """Add the routes of tasks, of the staff, of the inbox, and by which other systems bring results."""
    delivery = service.delivery
    signatures = Signatures(webhook_secrets(service.settings))

    def verify(request: Request, body: bytes) -> str:
        return signatures.verify(SOURCE, request.headers, body)

    verifier = Verifier(keys)

    async def door(text: str) -> Caller:
        key = await verifier.verify_text(text)
        if key.grants.isdisjoint({Scope.WORK, Scope.OPERATE}):
            raise ScopeMissing(f"the inbox needs a key with the scope {Scope.WORK} or {Scope.OPERATE}")
        return caller_with(key)

    app.include_router(api.router(delivery.desk, delivery.histories, caller_of))
    app.include_router(staff_api.router(delivery, caller_of))
    staff_api.add_callback_route(app, delivery, verify)
    add_inbox_routes(app, Inbox(delivery.desk, delivery.histories, door))
