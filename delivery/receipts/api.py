"""HTTP routes of receipts. Providers have no key: their signature is one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import msgspec
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from audiences.crm.signatures import Signatures
from audiences.errors import PayloadUnreadable, WebhookRefused
from audiences.texts import fit
from delivery.errors import UnknownChannel
from delivery.receipts import reading, twilio
from delivery.receipts.models import Answer, Became, Incoming
from delivery.receipts.service import Receipts
from delivery.receipts.twilio import TwilioSignatures
from storage.clock import Clock

MAX_RECEIPTS_BYTES = 256 * 1024
_MAX_FIELDS = 100
_MAX_LISTED = 500
# Whoever sends a text gets what this says as an answer: nothing.
_NO_ANSWER = "<Response/>"

_encode = msgspec.json.Encoder().encode


def add_receipt_routes(
    app: FastAPI,
    receipts: Receipts,
    clock: Clock,
    signatures: Signatures,
    of_twilio: TwilioSignatures,
    public_url: str,
) -> None:
    """Add `POST /v1/receipts/{channel}`, and what operators do with receipts that could not be used.

    Args:
        public_url: where providers reach the service, '' if at the address that requests name.
    """

    async def receive(request: Request) -> Response:
        channel, body = request.path_params["channel"], await request.body()
        if signature := request.headers.get(twilio.SIGNATURE):
            parameters = _parameters(body)
            of_twilio.verify(channel, _url(request, public_url), parameters, signature)
            _check_known(channel)
            told = twilio.read(parameters, clock.now())
            await _taken(channel, [] if told is None else [told])
            return Response(_NO_ANSWER, media_type="text/xml")
        webhook_id = fit(signatures.verify(channel, request.headers, body), "`webhook-id`")
        _check_known(channel)
        answers = await _taken(channel, reading.read(body, webhook_id, clock.now()))
        aside = any(one.outcome is Became.QUARANTINED for one in answers)
        return _json({"receipts": answers}, HTTPStatus.ACCEPTED if aside else HTTPStatus.OK)

    async def waiting(request: Request) -> Response:
        channel, after = _operated(request), request.query_params.get("after", "")
        if after:
            fit(after, "`after`")
        page = await run_in_threadpool(receipts.waiting, channel, _MAX_LISTED, after)
        return _json({"waiting": page, "next": page[-1].event_id if len(page) == _MAX_LISTED else None})

    async def replay(request: Request) -> Response:
        return _json(await run_in_threadpool(receipts.again, _operated(request)))

    async def _taken(channel: str, incoming: Sequence[Incoming]) -> list[Answer]:
        if not incoming:
            return []
        future = await run_in_threadpool(receipts.submit, channel, incoming)
        return await asyncio.wrap_future(future)

    def _check_known(channel: str) -> None:
        # Not told from a wrong signature: which channels there are is nobody's business.
        if not receipts.knows(channel):
            raise WebhookRefused("receipts of this channel are not taken")

    def _operated(request: Request) -> str:
        channel: str = request.path_params["channel"]
        if not receipts.knows(channel):
            raise UnknownChannel(f"there is no channel {channel[:64]!r}")
        return channel

    path = "/v1/receipts/{channel}"
    app.add_route(path, receive, methods=["POST"], include_in_schema=False)
    app.add_route(f"{path}/waiting", waiting, methods=["GET"], include_in_schema=False)
    app.add_route(f"{path}/replay", replay, methods=["POST"], include_in_schema=False)


def _parameters(body: bytes) -> Mapping[str, Sequence[str]]:
    try:
        text = body.decode()
        return parse_qs(text, keep_blank_values=True, errors="replace", max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise PayloadUnreadable(f"the body is no form: {error}") from error


def _url(request: Request, public_url: str) -> str:
    """Return the address that Twilio was given, which a proxy in front may have changed."""
    if not public_url:
        return str(request.url)
    query = request.url.query
    return f"{public_url}{request.url.path}{'?' if query else ''}{query}"


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(_encode(value), status_code=status, media_type="application/json")
