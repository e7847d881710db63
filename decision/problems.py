"""Every error as a problem document (RFC 9457, `application/problem+json`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from audiences.errors import TextUnfit
from audiences.library_files import said
from storage.errors import NextplayError

_log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_SECONDS = "1"
_SERVER_ERROR = 500
# What Postgres's driver says of the one character that no text there can have.
_NUL = "NUL (0x00)"


class Problem(Response):
    """A problem document; `instance`, the path that was asked for, is added when it is sent."""

    media_type = MEDIA_TYPE

    def __init__(self, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status_code=document["status"], headers=headers)
        self._document = document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("raw_path") or quote(scope["path"]).encode()
        complete = {**self._document, "instance": path.decode("latin-1")}
        self.body = json.dumps(complete, ensure_ascii=False).encode("utf-8", "backslashreplace")
        self.headers["content-length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    retry: bool = False,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> Problem:
    """Return a problem document; `code` is stable, `detail` says what was wrong, where and what to do.

    `members` are what it says beside that (RFC 9457, section 3.2).
    """
    return Problem(
        {
            **(members or {}),
            "type": f"urn:nextplay:problem:{code}",
            "title": code.replace("-", " "),
            "status": status,
            "detail": detail,
        },
        {**({"Retry-After": _RETRY_AFTER_SECONDS} if retry else {}), **(headers or {})},
    )


def of_error(error: NextplayError) -> Problem:
    """Return the problem document of one of our own errors."""
    headers = None if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return problem(
        error.status, error.code, str(error), retry=error.retry, headers=headers, members=error.members
    )


def unrouted(method: str, path: str, allowed: tuple[str, ...]) -> Problem:
    """Return the problem document of a request that no route takes; `allowed` methods have its path."""
    if allowed:
        methods = ", ".join(allowed)
        detail = f"{method} is not a method of {path}; it takes {methods}"
        return problem(405, "method-not-allowed", detail, headers={"Allow": methods})
    return problem(404, "not-found", f"there is nothing at {path}; /docs lists what there is")


def install(app: FastAPI) -> None:
    """Answer every error of the app with a problem document."""

    @app.exception_handler(NextplayError)
    async def _own(_request: Request, error: Exception) -> Response:
        assert isinstance(error, NextplayError)  # noqa: S101 - registered for this type only
        if error.status >= _SERVER_ERROR:
            _log.warning("request failed", code=error.code, detail=str(error))
        return of_error(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type only
        kind = request.headers.get("content-type", "")
        if isinstance(error.body, bytes | str) and "json" not in kind:
            how = f"as {kind}" if kind else "without a Content-Type"
            detail = f"body: it is sent {how}: send it with Content-Type: application/json"
        else:
            detail = "; ".join(f"{'.'.join(map(str, one['loc']))}: {said(one)}" for one in error.errors())
        return problem(422, "invalid-request", detail)

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        return problem(error.status_code, code, str(error.detail), headers=error.headers)

    @app.exception_handler(DataError)
    async def _unfit(request: Request, error: Exception) -> Response:
        assert isinstance(error, DataError)  # noqa: S101 - registered for this type only
        if _NUL in str(error.orig):
            return of_error(TextUnfit("a text has the character U+0000 in it: leave it out"))
        return await _unexpected(request, error)

    @app.exception_handler(Exception)
    async def _unexpected(_request: Request, error: Exception) -> Response:
        _log.error("unexpected error", exc_info=error)
        detail = "an unexpected error; the service's log says more"
        # The server closes the connection after this; who is not told would send the next request into it.
        return problem(_SERVER_ERROR, "internal", detail, headers={"Connection": "close"})
