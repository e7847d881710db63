"""`GET /metrics`, and the layer around every request that feeds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response

from decision.observe import metrics
from decision.observe.requests import ObserveRequests
from decision.observe.standing import Standing

if TYPE_CHECKING:
    from decision.wiring import Service

PATH = "/metrics"


def install(app: FastAPI, service: Service) -> None:
    """Count what the service does from now on, and show it at `GET /metrics`.

    To be called after all other layers are added, so that none is outside of it.
    """
    metrics.watch(service.database)
    standing = CollectorRegistry()
    standing.register(Standing(service))

    # Not a coroutine: what it reads from the database it reads in a thread.
    def show(request: Request) -> Response:
        """Everything in Prometheus' text format, or OpenMetrics where asked for."""
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        body = encode(metrics.REGISTRY) + encode(standing)
        if media_type.startswith("application/openmetrics"):
            body = body.replace(b"# EOF\n", b"", 1)
        return Response(body, media_type=media_type)

    app.add_route(PATH, show, include_in_schema=False)
    app.add_middleware(ObserveRequests)
