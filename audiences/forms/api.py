"""The HTTP routes of forms. They take no key: whoever fills in a form has none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from fastapi import FastAPI
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from audiences.errors import FormOriginRefused, FormRefused, FormUnreadable, TooManySubmissions
from audiences.forms.definitions import FormSpec
from audiences.forms.guards import Buckets
from audiences.forms.service import FormAnswer, Forms
from storage.errors import NextplayError

MAX_FORM_BYTES = 64 * 1024
_MAX_FIELDS = 200
_MAX_HEADER = 1_000
_PREFLIGHT_SECONDS = "600"

Sent = dict[str, Sequence[Any]]
_encode = msgspec.json.Encoder().encode


def add_form_routes(app: FastAPI, forms: Forms, problem: Callable[[NextplayError], Response]) -> None:
    """Add `GET` and `POST /v1/forms/{form_id}`, and the pre-flight of browsers.

    Args:
        problem: makes the answer to an error, to which browsers must be let too.
    """
    buckets = Buckets()

    async def describe(request: Request) -> Response:
        form = forms.get(request.path_params["form_id"])
        answer = Response(_encode(forms.describe(form)), media_type="application/json")
        answer.headers["Cache-Control"] = "no-store"
        return _shared(answer, form, request)

    async def preflight(request: Request) -> Response:
        form = forms.get(request.path_params["form_id"])
        answer = Response(status_code=HTTPStatus.NO_CONTENT)
        if _origin(request) in form.origins:
            answer.headers["Access-Control-Allow-Methods"] = "GET, POST"
            answer.headers["Access-Control-Allow-Headers"] = "content-type"
            answer.headers["Access-Control-Max-Age"] = _PREFLIGHT_SECONDS
        return _shared(answer, form, request)

    async def submit(request: Request) -> Response:
        form = forms.get(request.path_params["form_id"])
        try:
            answer = _answered(request, await _submitted(request, form))
        except NextplayError as error:
            answer = problem(error)
        return _shared(answer, form, request)

    async def _submitted(request: Request, form: FormSpec) -> FormAnswer:
        origin = _origin(request)
        if origin is not None and form.origins and origin not in form.origins:
            raise FormOriginRefused("pages of this origin may not send the form; forms.yaml lists `origins`")
        address = request.client.host if request.client else ""
        if not buckets.take(form.id, address, form.rate):
            raise TooManySubmissions("too many submissions from this address: try again in a minute")
        sent = await _sent(request)
        return await asyncio.wrap_future(forms.submit(form, sent, _context(request, address)))

    path = "/v1/forms/{form_id}"
    app.add_route(path, describe, methods=["GET"], include_in_schema=False)
    app.add_route(path, submit, methods=["POST"], include_in_schema=False)
    app.add_route(path, preflight, methods=["OPTIONS"], include_in_schema=False)


async def _sent(request: Request) -> Sent:
    """Return all values of each field of a body, whatever kind it is of.

    Raises:
        FormUnreadable: it is of a kind that is not taken.
        FormRefused: it can't be read as what it says it is, or has too many fields or a file.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return _json(await request.body())
    if kind == "application/x-www-form-urlencoded":
        text = (await request.body()).decode("utf-8", "replace")
        try:
            pairs: list[tuple[str, Any]] = list(
                parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=_MAX_FIELDS)
            )
        except ValueError as error:
            raise FormRefused(f"the body can't be read: {error}") from error
        return _gathered(pairs)
    if kind == "multipart/form-data":
        return _gathered(await _multipart(request))
    raise FormUnreadable(
        "a form is sent as application/x-www-form-urlencoded, multipart/form-data or application/json"
    )


async def _multipart(request: Request) -> list[tuple[str, Any]]:
    try:
        # An empty file field is sent as a file without a name or content; it is counted too.
        async with request.form(max_files=_MAX_FIELDS, max_fields=_MAX_FIELDS) as form:
            pairs = form.multi_items()
    except (HTTPException, ValueError, KeyError) as error:
        said = error.detail if isinstance(error, HTTPException) else "it is cut off or malformed"
        raise FormRefused(f"the body can't be read: {said}") from error
    if any(isinstance(value, UploadFile) and (value.filename or value.size) for _, value in pairs):
        raise FormRefused("files are not taken: leave them out")
    return [(name, value) for name, value in pairs if not isinstance(value, UploadFile)]


def _json(body: bytes) -> Sent:
    try:
        values = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormRefused(f'the body is no JSON object: {error}; send {{"email": "…"}}') from error
    return {name: value if isinstance(value, list) else [value] for name, value in values.items()}


def _gathered(pairs: Sequence[tuple[str, Any]]) -> Sent:
    gathered: dict[str, list[Any]] = {}
    for name, value in pairs:
        gathered.setdefault(name, []).append(value)
    return dict(gathered)


def _answered(request: Request, answer: FormAnswer) -> Response:
    """Send a browser on to where the form leads; tell a script where that is."""
    onward = answer.redirect or answer.download
    if onward is not None and "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(onward, status_code=HTTPStatus.SEE_OTHER)
    return Response(_encode(answer), media_type="application/json")


def _shared(answer: Response, form: FormSpec, request: Request) -> Response:
    """Let pages of the form's origins read an answer."""
    answer.headers.append("Vary", "Origin")
    origin = _origin(request)
    if origin is not None and origin in form.origins:
        answer.headers["Access-Control-Allow-Origin"] = origin
    return answer


def _origin(request: Request) -> str | None:
    return request.headers.get("origin")


def _context(request: Request, address: str) -> Mapping[str, Any]:
    context: dict[str, Any] = {"ip": address}
    if agent := request.headers.get("user-agent"):
        context["userAgent"] = agent[:_MAX_HEADER]
    if page := request.headers.get("referer"):
        context["page"] = {"url": page[:_MAX_HEADER]}
    return context
