"""The HTTP route of tracked links and pixels. Users have no key: links are signed."""

from __future__ import annotations

import base64
from http import HTTPStatus
from urllib.parse import quote, urlsplit

import structlog
from fastapi import FastAPI
from sqlalchemy.exc import DBAPIError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from delivery.errors import LinkBroken
from delivery.links.following import Visits, context_of
from delivery.links.signing import Signer, Tracked
from storage.errors import NextplayError

_log = structlog.get_logger(__name__)

_GIF = ".gif"
# One transparent pixel (GIF89a).
_PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_HEADERS = {"cache-control": "no-store", "referrer-policy": "no-referrer", "x-robots-tag": "noindex"}


def add_link_route(app: FastAPI, signer: Signer, visits: Visits) -> None:
    """Add `GET /t/{token}`: leads on to the address that was signed, or gives the pixel."""

    async def follow(request: Request) -> Response:
        token: str = request.path_params["token"]
        link = signer.read(token.removesuffix(_GIF), Tracked)
        if token.endswith(_GIF) == bool(link.url) or (link.url and not _leads(link.url)):
            raise LinkBroken("this is no link of ours, or a part of it is missing: copy it whole")
        # Who only asks for the headers has not looked.
        if request.method == "GET":
            await run_in_threadpool(_record, request, link)
        if not link.url:
            return Response(_PIXEL, media_type="image/gif", headers=_HEADERS)
        return Response(status_code=HTTPStatus.FOUND, headers={**_HEADERS, "location": _ascii(link.url)})

    def _record(request: Request, link: Tracked) -> None:
        address = request.client.host if request.client else ""
        try:
            visits.record(link, context_of(request.headers, address))
        except (NextplayError, DBAPIError) as error:
            # Whoever clicked wants to get there, whatever is the matter with us.
            _log.warning("a visit of a link was not recorded", error=str(error))

    app.add_route("/t/{token}", follow, methods=["GET"], include_in_schema=False)


def _leads(url: str) -> bool:
    return urlsplit(url).scheme in ("http", "https") and "\r" not in url and "\n" not in url


def _ascii(url: str) -> str:
    """Return an address as a header may hold it."""
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]")
