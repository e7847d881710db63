"""HTTP routes of CRMs. Webhooks take no key: their signature is one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from audiences.crm.reconcile import Report
from audiences.crm.service import Became, Crm
from audiences.crm.signatures import Signatures
from audiences.errors import WebhookRefused
from audiences.importing.reader import Row
from audiences.texts import fit
from storage.errors import NextplayError

MAX_WEBHOOK_BYTES = 256 * 1024
MAX_EXPORT_BYTES = 64 * 1024 * 1024
_MAX_LISTED = 500

_encode = msgspec.json.Encoder().encode


class _Sent(msgspec.Struct):
    line: int
    values: dict[str, Any] = {}
    error: str = ""


_decode_sent = msgspec.json.Decoder(_Sent).decode


def add_crm_routes(
    app: FastAPI, crm: Crm, signatures: Signatures, reconcile: Callable[[str, Iterable[Row]], Report]
) -> None:
    """Add `POST /v1/webhooks/{source}` and what operators do with CRMs."""

    async def webhook(request: Request) -> Response:
        name, body = request.path_params["source"], await request.body()
        webhook_id = signatures.verify(name, request.headers, body)
        try:
            source = crm.source(name)
        except NextplayError:
            raise WebhookRefused("webhooks of this source are not taken") from None
        answer = await asyncio.wrap_future(crm.submit(source, fit(webhook_id, "`webhook-id`"), body))
        status = HTTPStatus.ACCEPTED if answer.outcome is Became.QUARANTINED else HTTPStatus.OK
        return _json(answer, status)

    async def waiting(request: Request) -> Response:
        source = crm.source(request.path_params["source"])
        after = request.query_params.get("after", "")
        if after:
            fit(after, "`after`")
        page = await run_in_threadpool(crm.waiting, source, _MAX_LISTED, after)
        return _json({"waiting": page, "next": page[-1].webhook_id if len(page) == _MAX_LISTED else None})

    async def replay(request: Request) -> Response:
        return _json(await run_in_threadpool(crm.replay, crm.source(request.path_params["source"])))

    async def compare(request: Request) -> Response:
        source, body = crm.source(request.path_params["source"]), await request.body()
        report = await run_in_threadpool(reconcile, source.id, _rows(body))
        return _json({"agrees": report.agrees, **msgspec.to_builtins(report)})

    app.add_route("/v1/webhooks/{source}", webhook, methods=["POST"], include_in_schema=False)
    app.add_route("/v1/crm/{source}/waiting", waiting, methods=["GET"], include_in_schema=False)
    app.add_route("/v1/crm/{source}/replay", replay, methods=["POST"], include_in_schema=False)
    app.add_route("/v1/crm/{source}/reconcile", compare, methods=["POST"], include_in_schema=False)


def _rows(body: bytes) -> Iterator[Row]:
    """Yield the rows of an export: a line each, `{"line": 2, "values": {…}}`."""
    for number, line in enumerate(body.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            sent = _decode_sent(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield Row(number, error=f'no row: {error}; send {{"line": 1, "values": {{…}}}}')
        else:
            yield Row(sent.line, sent.values, sent.error)


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(_encode(value), status_code=status, media_type="application/json")
