"""The least that FastAPI does for a JSON request: one route that reads it with msgspec and writes it back.

Run as a process of its own: `python -m benchmarks.bare_route` prints its port.
"""

from __future__ import annotations

import socket
import sys

import msgspec
import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.http_load import HOST


class Asked(msgspec.Struct):
    """What is asked, as the service is asked."""

    user_id: str
    placement: str


async def _echo(request: Request) -> Response:
    asked = msgspec.json.decode(await request.body(), type=Asked)
    return Response(msgspec.json.encode(asked), media_type="application/json")


def main() -> None:
    """Serve until the process is ended."""
    app = FastAPI()
    app.add_route("/v1/decide", _echo, methods=["POST"])
    with socket.create_server((HOST, 0)) as listening:
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run(sockets=[listening])


if __name__ == "__main__":
    main()
