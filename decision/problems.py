"""Every error as a problem document (RFC 9457, `application/problem+json`)."""

from __future__ import annotations

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from storage.errors import NextplayError

_log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_SECONDS = "1"
_SERVER_ERROR = 500


def problem(status: int, code: str, detail: str, *, retry: bool = False) -> Response:
    """Return a problem document; `code` is stable, `detail` says what was wrong, where and what to do."""
    return JSONResponse(
        {
            "type": f"urn:nextplay:problem:{code}",
            "title": code.replace("-", " "),
            "status": status,
            "detail": detail,
        },
        status,
        headers={"Retry-After": _RETRY_AFTER_SECONDS} if retry else None,
        media_type=MEDIA_TYPE,
    )


def of_error(error: NextplayError) -> Response:
    """Return the problem document of one of our own errors."""
    return problem(error.status, error.code, str(error), retry=error.retry)


def install(app: FastAPI) -> None:
    """Answer every error of the app with a problem document."""

    @app.exception_handler(NextplayError)
    async def _own(_request: Request, error: Exception) -> Response:
        assert isinstance(error, NextplayError)  # noqa: S101 - registered for this type only
        if error.status >= _SERVER_ERROR:
            _log.warning("request failed", code=error.code, detail=str(error))
        return of_error(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type only
        detail = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        return problem(422, "invalid-request", detail)

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
        return problem(error.status_code, "http", str(error.detail))

    @app.exception_handler(Exception)
    async def _unexpected(_request: Request, error: Exception) -> Response:
        _log.error("unexpected error", exc_info=error)
        return problem(_SERVER_ERROR, "internal", "an unexpected error; the service's log says more")
