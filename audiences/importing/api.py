"""The HTTP route of imports, for whoever imports into a service that runs."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from audiences.errors import RowRefused
from audiences.importing.reader import Row
from audiences.importing.service import Imports


class SentRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of a file, with the number of its line."""

    line: int
    values: dict[str, Any]


class SentRows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some rows of a file."""

    rows: list[SentRow]


_decode = msgspec.json.Decoder(SentRows).decode
_encode = msgspec.json.Encoder().encode


def add_import_route(app: FastAPI, imports: Imports) -> None:
    """Add `POST /v1/import/{kind}`."""

    async def take(request: Request) -> Response:
        try:
            sent = _decode(await request.body())
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RowRefused(
                f'no rows to import: {error}; send {{"rows": [{{"line": 2, "values": {{…}}}}]}}'
            ) from error
        rows = [Row(one.line, _present(one.values)) for one in sent.rows]
        done = await run_in_threadpool(imports.take, request.path_params["kind"], rows)
        return Response(_encode(done), media_type="application/json")

    app.add_route("/v1/import/{kind}", take, methods=["POST"], include_in_schema=False)


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
