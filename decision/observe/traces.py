"""OpenTelemetry traces: off unless the standard environment variables ask for them, at the cost of an `if`.

FastAPI opens a span for each request. `decide` adds its own below it: `features`, `matching`, `commit`.

| variable | what it does |
|---|---|
| `OTEL_TRACES_EXPORTER` | `otlp`, `console` (for debugging, to standard output) or `none` |
| `OTEL_EXPORTER_OTLP_ENDPOINT` and the other `OTEL_EXPORTER_OTLP_…` | where to; setting one asks for `otlp` |
| `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, … | as the SDK reads them |
| `OTEL_SDK_DISABLED` | `true` switches everything off |

No attribute holds personal data: paths and query strings, which hold ids of users, are taken out, and neither
requests, features nor messages of exceptions are put in. A decision's id is.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from opentelemetry.trace import StatusCode, Tracer

from storage.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

OTLP, CONSOLE, NONE = "otlp", "console", "none"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_TAKEN_OUT = ("url.path", "url.query", "http.request.method_original")
_REDACTED = "REDACTED"
_OTLP_MODULES = {
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "grpc": "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
}
# How long the end of the process may wait for the last spans to be sent.
_FLUSH_SECONDS = 2.0
_OFF: AbstractContextManager[Any] = nullcontext()

_tracer: Tracer | None = None


def configure() -> bool:
    """Begin to trace if the environment asks for it; returns whether it does.

    Raises:
        ConfigurationError: it asks for an exporter that does not exist or is not installed.
    """
    exporter = wanted(os.environ)
    if exporter is None:
        return False
    provider = _provider()
    _export(provider, exporter)
    _end_with_process(provider)
    trace.set_tracer_provider(provider)
    use(provider)
    return True


def _end_with_process(provider: TracerProvider) -> None:
    """Send the last spans when the process ends; the SDK's own way waits for a collector that is away.

    The thread is there from the start, for none can be started at the end.
    """
    ending = threading.Event()

    def end() -> None:
        ending.wait()
        provider.shutdown()

    thread = threading.Thread(target=end, name="traces-end", daemon=True)
    thread.start()

    def end_now() -> None:
        ending.set()
        thread.join(_FLUSH_SECONDS)

    atexit.register(end_now)


def use(provider: trace.TracerProvider | None) -> None:
    """Make the spans of `decide` with this provider; None: make none."""
    global _tracer  # noqa: PLW0603 - one process, one tracer, read at every decision
    _tracer = None if provider is None else provider.get_tracer("nextplay", version("nextplay"))


def wanted(environment: Mapping[str, str]) -> str | None:
    """Return the exporter an environment asks for, None when traces are to be off.

    Raises:
        ConfigurationError: there is no such exporter.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    implied = OTLP if any(environment.get(name) for name in _ENDPOINTS) else NONE
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() or implied
    if exporter not in (OTLP, CONSOLE, NONE):
        raise ConfigurationError(
            f"OTEL_TRACES_EXPORTER is {exporter!r}; it may be {OTLP}, {CONSOLE} or {NONE}"
        )
    return None if exporter == NONE else exporter


def of_requests() -> TelemetryConfig:
    """Return what FastAPI is to do by itself, to be asked for once it is known whether anything is traced.

    It makes no metrics and logs of requests: ours say it, without the messages of exceptions. Where it is not
    told that nothing is traced it finds that out anew at every request.
    """
    return {"tracing": on(), "metrics": False, "logs": False}


def span(name: str) -> AbstractContextManager[Any]:
    """Return a span below the current one, for a `with`; nothing when traces are off."""
    if _tracer is None:
        return _OFF
    # An exception's message may quote what was asked.
    return _tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False)


def span_until_done(name: str, future: Future[Any]) -> None:
    """Make a span from now until a future is done."""
    if _tracer is None:
        return
    waiting = _tracer.start_span(name)

    def end(done: Future[Any]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None:
            waiting.set_attribute("error.type", type(error).__name__)
            waiting.set_status(StatusCode.ERROR)
        waiting.end()

    future.add_done_callback(end)


def on() -> bool:
    """Whether anything is traced."""
    return _tracer is not None


def recorded() -> bool:
    """Whether the current span is kept: whose request it is then has spans of its own below it."""
    return _tracer is not None and trace.get_current_span().is_recording()


def note(**attributes: str) -> None:
    """Put attributes, `nextplay.` before their names, on the current span. Nothing personal belongs there."""
    if _tracer is not None:
        trace.get_current_span().set_attributes(
            {f"nextplay.{name}": value for name, value in attributes.items()}
        )


def _provider() -> TracerProvider:
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    # The environment may name the service otherwise.
    ours = Resource({"service.name": "nextplay", "service.version": version("nextplay")})
    resource = Resource.create().merge(ours).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(without_paths())
    return provider


def without_paths() -> Any:
    """Return a span processor that takes the client's own words out of the spans that FastAPI starts."""
    from opentelemetry.sdk.trace import Span, SpanProcessor  # noqa: PLC0415 - only when traces are on

    class _WithoutPaths(SpanProcessor):
        def on_start(self, span: Span, parent_context: Any = None) -> None:
            for name in _TAKEN_OUT:
                if span.attributes and name in span.attributes:
                    span.set_attribute(name, _REDACTED)

    return _WithoutPaths()


def _export(provider: TracerProvider, exporter: str) -> None:
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
        BatchSpanProcessor,
        ConsoleSpanExporter,
        SimpleSpanProcessor,
    )

    if exporter == CONSOLE:
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
    else:
        provider.add_span_processor(BatchSpanProcessor(_otlp(os.environ)))


def _otlp(environment: Mapping[str, str]) -> SpanExporter:
    protocol = (
        environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
        or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        or "http/protobuf"
    )
    module = _OTLP_MODULES.get(protocol)
    if module is None:
        raise ConfigurationError(
            f"the OTLP protocol {protocol!r} is not known; OTEL_EXPORTER_OTLP_PROTOCOL may be "
            f"{' or '.join(_OTLP_MODULES)}"
        )
    # That for HTTP comes with nextplay.
    package = f"opentelemetry-exporter-otlp-proto-{protocol.partition('/')[0]}"
    if not _installed(module):
        raise ConfigurationError(
            f"traces are to be sent by OTLP ({protocol}), but the package is missing: pip install {package}, "
            "or set OTEL_TRACES_EXPORTER=none"
        )
    exporter: SpanExporter = import_module(module).OTLPSpanExporter()
    return exporter


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
