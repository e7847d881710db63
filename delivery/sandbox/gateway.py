"""The sandbox over HTTP: a gateway for SMS and push as JSON, Twilio's `Messages.json`, and its own routes.

POST /sms/messages, /push/messages                  {"to": …, "text": …}; knows Idempotency-Key
POST /2010-04-01/Accounts/{sid}/Messages.json       as Twilio: a form; knows no keys
POST /webhooks                                      signed as Standard Webhooks says; knows webhook-id
POST /behaviour                                     what goes wrong next (`delivery.sandbox.taking`)
GET, DELETE /taken                                  what was taken
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Callable, Mapping
from email.utils import format_datetime
from hmac import compare_digest
from typing import Any
from urllib.parse import parse_qs

import msgspec
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from delivery.sandbox.taking import Behaviour, Taken, Taking

_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
_PIECE = b" " * 1024
_DRIP_SECONDS = 0.05


def application(taking: Taking, token: str, secret: str) -> Starlette:
    """Return the sandbox.

    Args:
        token: signs in whoever hands over: as bearer, or as Twilio's auth token.
        secret: signs webhooks.
    """

    async def sms(request: Request) -> Response:
        return await _generic(request, taking, "sms", token)

    async def push(request: Request) -> Response:
        return await _generic(request, taking, "push", token)

    async def twilio(request: Request) -> Response:
        return await _twilio(request, taking, token)

    async def webhook(request: Request) -> Response:
        return await _webhook(request, taking, secret)

    async def behave(request: Request) -> Response:
        try:
            taking.behave(Behaviour.model_validate_json(await request.body()))
        except ValidationError as error:
            return JSONResponse({"errors": error.errors(include_url=False, include_context=False)}, 422)
        return Response(status_code=204)

    async def show(_request: Request) -> Response:
        return Response(msgspec.json.encode({"taken": taking.all()}), media_type="application/json")

    async def forget(_request: Request) -> Response:
        taking.forget()
        return Response(status_code=204)

    return Starlette(
        routes=[
            Route("/sms/messages", sms, methods=["POST"]),
            Route("/push/messages", push, methods=["POST"]),
            Route("/2010-04-01/Accounts/{sid}/Messages.json", twilio, methods=["POST"]),
            Route("/webhooks", webhook, methods=["POST"]),
            Route("/behaviour", behave, methods=["POST"]),
            Route("/taken", show, methods=["GET"]),
            Route("/taken", forget, methods=["DELETE"]),
        ]
    )


async def _generic(request: Request, taking: Taking, protocol: str, token: str) -> Response:
    if not compare_digest(request.headers.get("authorization", ""), f"Bearer {token}"):
        return JSONResponse({"error": "who are you?"}, 401)
    try:
        said = msgspec.json.decode(await request.body())
        to, text = said["to"], said["text"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return JSONResponse({"error": "to and text are missing"}, 400)
    if not isinstance(to, str) or (protocol == "sms" and not _PHONE.fullmatch(to)):
        return JSONResponse({"error": f"{to} is no number"}, 422)
    key = request.headers.get("idempotency-key", "")

    def taken() -> Mapping[str, Any]:
        return {"id": taking.take(protocol, to, text, key=key, subject=said.get("title", "")).id}

    return await _answered(taking, taken, {"id": None, "error": "no credit"}, {"error": "not now"})


async def _twilio(request: Request, taking: Taking, token: str) -> Response:
    sid = request.path_params["sid"]
    basic = base64.b64encode(f"{sid}:{token}".encode()).decode()
    if not compare_digest(request.headers.get("authorization", ""), f"Basic {basic}"):
        return JSONResponse(_twilio_error(20003, "Authenticate", 401), 401)
    form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
    to = form.get("To", "")
    if not _PHONE.fullmatch(to):
        return JSONResponse(
            _twilio_error(21211, f"The 'To' number {to} is not a valid phone number.", 400), 400
        )
    if not (form.get("From") or form.get("MessagingServiceSid")):
        return JSONResponse(_twilio_error(21603, "A 'From' phone number is required.", 400), 400)

    def resource(one: Taken | None, status: str, error: int | None = None) -> Mapping[str, Any]:
        return {
            "sid": None if one is None else f"SM{one.id}",
            "account_sid": sid,
            "to": to,
            "from": form.get("From"),
            "messaging_service_sid": form.get("MessagingServiceSid"),
            "body": form.get("Body", ""),
            "status": status,
            "error_code": error,
            "date_created": format_datetime(one.at) if one is not None and one.at is not None else None,
        }

    def taken() -> Mapping[str, Any]:
        callback = {"StatusCallback": form["StatusCallback"]} if "StatusCallback" in form else {}
        return resource(taking.take("twilio", to, form.get("Body", ""), headers=callback), "queued")

    lie = resource(None, "failed", 30005)
    return await _answered(taking, taken, lie, _twilio_error(20503, "Service unavailable", 503), 201)


async def _webhook(request: Request, taking: Taking, secret: str) -> Response:
    body = await request.body()
    try:
        Webhook(secret).verify(body, dict(request.headers))
        data = msgspec.json.decode(body)["data"]
        key, to, text, subject = (data[name] for name in ("message_id", "user_id", "body", "subject"))
    except WebhookVerificationError as error:
        return JSONResponse({"error": str(error)}, 401)
    except (msgspec.DecodeError, KeyError, TypeError):
        return JSONResponse({"error": "this is no message"}, 400)

    def taken() -> Mapping[str, Any]:
        return {"id": taking.take("webhook", to, text, key=key, subject=subject).id}

    return await _answered(taking, taken, {}, {"error": "not now"})


def _twilio_error(code: int, message: str, status: int) -> Mapping[str, Any]:
    return {"code": code, "message": message, "more_info": f"https://twilio.example/{code}", "status": status}


async def _answered(
    taking: Taking,
    taken: Callable[[], Mapping[str, Any]],
    lie: Mapping[str, Any],
    refusal: Mapping[str, Any],
    status: int = 200,
) -> Response:
    """Answer as a provider should, or as it was told to."""
    behaviour = taking.next()
    if behaviour is None:
        return Response(msgspec.json.encode(taken()), status, media_type="application/json")
    if behaviour.do == "refuse":
        wait = {} if behaviour.retry_after is None else {"retry-after": str(behaviour.retry_after)}
        moved = {"location": "/taken"} if behaviour.status < 400 else {}
        return JSONResponse(dict(refusal), behaviour.status, headers={**wait, **moved})
    if behaviour.do == "lie":
        return JSONResponse(dict(lie), status)
    return await _said_badly(behaviour, taken(), status)


async def _said_badly(behaviour: Behaviour, said: Mapping[str, Any], status: int) -> Response:
    """Answer that a message was taken, in a way that is hard to read."""
    if behaviour.do == "slow":
        await asyncio.sleep(behaviour.seconds)
        return JSONResponse(dict(said), status)
    if behaviour.do == "empty":
        return Response(status_code=status)
    if behaviour.do == "malformed":
        return Response(b"<html>It works!</html>", status)
    return StreamingResponse(_endless(_DRIP_SECONDS if behaviour.do == "drip" else 0), status)


async def _endless(seconds: float) -> AsyncIterator[bytes]:
    while True:
        yield b"." if seconds else _PIECE
        await asyncio.sleep(seconds)
