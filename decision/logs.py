"""Structured logs: JSON lines on standard error, or readable ones on a terminal. No personal data goes in.

There is one way into the log. Everybody else's lines (the HTTP server's, Python's warnings) come through the
same processors, from `warning` on: what other packages say at lower levels may quote the data they work on.

What keeps personal data out: a field named for something personal loses its value, a value that is not plain
text or a number is reduced to its type, and an exception that is not one of ours is logged by its type and
the places in the code it went through, never by its message, which may quote a request or a row.

A log that takes no lines (it lies on the disk that is full, its reader is gone) stops nothing else.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Literal, TextIO

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, WrappedLogger

from decision.observe.ids import request_id
from storage.errors import NextplayError

Level = Literal["debug", "info", "warning", "error"]

# The standard library's name for everything of ours; asked by those who must know whether a line is wanted.
NAME = "nextplay"
REDACTED = "[personal]"
_LONGEST = 1_000
_MOST_FRAMES = 30

# Letters only and small. A field is personal when its name is one of these, or ends with one of the ends.
_PERSONAL = {
    "user", "users", "name", "birthday", "gender", "ip", "url", "path", "query", "body", "payload", "content",
    "contents", "context", "traits", "properties", "attributes", "features", "offer", "offers", "headers",
    "recipient", "to", "answer", "request", "response", "row", "rows", "parameters", "params", "identity",
    "identities",
}  # fmt: skip
_ENDS = (
    "userid", "anonymousid", "deviceid", "openid", "accountid", "email", "mail", "phone", "mobile", "address",
    "firstname", "lastname", "fullname", "username", "password", "secret", "key", "accesstoken",
)  # fmt: skip
_PERSONAL_ENDS = (*_ENDS, *(f"{end}s" for end in _ENDS), "addresses")


def configure(level: Level = "info") -> None:
    """Set up the log of the process: structlog's, the standard library's, and Python's warnings."""
    number = logging.getLevelNamesMapping()[level.upper()]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            where_it_belongs,
            exceptions_by_type,
            without_personal_data,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=Lines(sys.stderr),
    )
    logging.getLogger(NAME).setLevel(number)
    logging.basicConfig(handlers=[_Others()], level=max(number, logging.WARNING), force=True)
    logging.captureWarnings(True)


class Lines:
    """Writes lines to a stream, for structlog; a stream that refuses them must not fail what they tell of."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._refused = 0

    def __call__(self, *_names: Any) -> Lines:
        """Be the logger of every name."""
        return self

    def msg(self, line: str) -> None:
        """Write a line; after some that were refused, first how many (their stream may still hold a few)."""
        with self._lock:
            refused = self._refused
            if refused:
                line = f'{{"event": "the log took no lines for a while", "refused": {refused}}}\n{line}'
            try:
                self._stream.write(f"{line}\n")
                self._stream.flush()
            except OSError:
                self._refused += 1
            else:
                self._refused = 0

    log = debug = info = warning = error = critical = exception = msg


def where_it_belongs(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Add the id of the request that is being answered, and of the trace and span where there is one."""
    request = request_id()
    if request is not None:
        line["request_id"] = request
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        line["trace_id"] = trace.format_trace_id(span.trace_id)
        line["span_id"] = trace.format_span_id(span.span_id)
    return line


def exceptions_by_type(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Replace `exc_info` by `exception`: each exception of the chain, the first cause last."""
    given = line.pop("exc_info", None)
    line.pop("stack_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        line["exception"] = [_described(one) for one in _chain(error)]
    return line


def without_personal_data(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Take away values of fields named for something personal, and whatever is not plain."""
    return {name: _plain(name, value) for name, value in line.items()}


class _Others(logging.Handler):
    """Hands the standard library's records to our log."""

    def __init__(self) -> None:
        super().__init__()
        self._log = structlog.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # What follows the first line quotes source code or objects.
            said = record.getMessage().partition("\n")[0]
            self._log.log(record.levelno, said, logger=record.name, exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 - a log line must not fail what it tells of
            self.handleError(record)


def _plain(name: str, value: Any) -> Any:
    if _is_personal(name):
        return REDACTED
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"
    if isinstance(value, Mapping):
        return {str(key): _plain(str(key), one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(name, one) for one in value]
    return value.isoformat() if isinstance(value, date) else f"<{type(value).__name__}>"


def _is_personal(name: str) -> bool:
    word = re.sub(r"[^a-z]", "", name.lower())
    return word in _PERSONAL or word.endswith(_PERSONAL_ENDS)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _described(error: BaseException) -> dict[str, Any]:
    frames = [
        f"{frame.f_globals.get('__name__', '?')}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    said: dict[str, Any] = {"type": f"{type(error).__module__}.{type(error).__qualname__}"}
    if isinstance(error, NextplayError):
        said["code"] = error.code
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        said["sqlstate"] = state
    said["frames"] = frames[-_MOST_FRAMES:]
    return said
