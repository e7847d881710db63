"""`GET /metrics`, and the layer around every request that feeds it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIServer

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response

from decision.apart.measured import Together
from decision.errors import PortInUse
from decision.observe import metrics
from decision.observe.requests import ObserveRequests
from decision.observe.standing import OF_JOBS, READERS, Standing

if TYPE_CHECKING:
    from decision.wiring import Service

PATH = "/metrics"
_HERE = "127.0.0.1"


def watch(service: Service) -> CollectorRegistry:
    """Count what the service does from now on; returns what was counted and how it stands."""
    metrics.watch(service.database)
    registry = CollectorRegistry()
    if service.apart is None:
        registry.register(metrics.REGISTRY)
        registry.register(Standing(service))
    else:
        registry.register(Together(service.apart))
        registry.register(Standing(service, set(READERS) - set(OF_JOBS)))
    return registry


def show_alone(service: Service, port: int) -> WSGIServer:
    """Show the metrics of a process that answers no requests, to this machine only and without a key.

    Raises:
        PortInUse: another process shows something there.
    """
    try:
        server, _ = start_http_server(port, _HERE, watch(service))
    except OSError as error:
        raise PortInUse(
            f"can't show metrics on {_HERE}:{port} ({error.strerror}): give each process a "
            "NEXTPLAY_METRICS_PORT of its own, or 0"
        ) from error
    return server


def install(app: FastAPI, service: Service) -> None:
    """Count what the service does from now on, and show it at `GET /metrics`.

    To be called after all other layers are added, so that none is outside of it.
    """
    registry = watch(service)

    # Not a coroutine: what it reads from the database it reads in a thread.
    def show(request: Request) -> Response:
        """Everything in Prometheus' text format, or OpenMetrics where asked for."""
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), media_type=media_type)

    app.add_route(PATH, show, include_in_schema=False)
    app.add_middleware(ObserveRequests)
