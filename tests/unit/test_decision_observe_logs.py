"""The log: one line a happening, everybody's in one form, and nothing personal in any of them."""

from __future__ import annotations

import errno
import io
import json
import logging
import sqlite3
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
import structlog
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from starlette.testclient import TestClient

from decision import logs, problems
from decision.observe.requests import ObserveRequests
from storage.errors import DatabaseUnavailable

MARK = "Mustermann"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the process's log as it was."""
    root, ours = logging.getLogger(), logging.getLogger(logs.NAME)
    before = root.handlers[:], root.level, ours.level
    yield
    logging.captureWarnings(False)
    root.handlers[:], root.level = before[0], before[1]
    ours.setLevel(before[2])
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


PERSONAL = """
    user_id userId email e-mail work_phone home_address addresses emails name traits properties offer body
    recipient idempotency_key anonymousId url first_name
"""


@pytest.mark.parametrize("name", PERSONAL.split())
def test_a_field_named_for_something_personal_loses_its_value(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure()
    structlog.get_logger().info("something", **{name: MARK}, deep={"list": [{name: MARK}]}, job="learn")
    (line,) = lines(capsys)
    assert line[name] == logs.REDACTED
    assert line["deep"] == {"list": [{name: logs.REDACTED}]}
    assert line["job"] == "learn"


def test_what_is_not_plain_is_reduced_to_its_type(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    thing = type("Thing", (), {"__repr__": lambda _: MARK, "__str__": lambda _: MARK})()
    moment = datetime(2026, 3, 2, tzinfo=UTC)
    structlog.get_logger().info(
        "x", thing=thing, raw=MARK.encode(), id=UUID(int=1), at=moment, many=[1, None]
    )
    (line,) = lines(capsys)
    assert (line["thing"], line["raw"], line["id"]) == ("<Thing>", "<bytes>", "<UUID>")
    assert (line["at"], line["many"]) == (moment.isoformat(), [1, None])


@given(st.recursive(st.text(min_size=9), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_nothing_below_a_personal_name_gets_through(value: object) -> None:
    line = logs.without_personal_data(None, "info", {"traits": value, "event": "x"})
    assert line == {"traits": logs.REDACTED, "event": "x"}


def test_an_exception_is_its_types_and_places(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    try:
        try:
            raise KeyError(MARK)
        except KeyError as cause:
            raise DatabaseUnavailable(MARK) from cause
    except DatabaseUnavailable:
        structlog.get_logger().exception("failed")
    said = capsys.readouterr().err
    assert MARK not in said
    first, second = json.loads(said)["exception"]
    assert (first["type"], first["code"]) == ("storage.errors.DatabaseUnavailable", "database-unavailable")
    assert second["type"] == "builtins.KeyError"
    assert second["frames"][0].endswith("test_an_exception_is_its_types_and_places")


def test_everybody_elses_lines_come_through_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.\n%s", MARK)
    logging.getLogger("sqlalchemy.engine").info("parameters: %s", MARK)
    try:
        sqlite3.connect(":memory:").execute("SELECT * FROM nothing")
    except sqlite3.OperationalError:
        logging.getLogger("asyncio").error(
            "Task exception was never retrieved\nfuture: %s", MARK, exc_info=True
        )
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    server, task, warning = lines(capsys)
    assert (server["event"], server["logger"]) == ("Invalid HTTP request received.", "uvicorn.error")
    assert task["level"] == "error"
    assert task["exception"][0]["type"] == "sqlite3.OperationalError"  # type: ignore[index]
    assert str(warning["event"]).endswith("DeprecationWarning: old")


@pytest.mark.parametrize(("level", "told"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level(level: logs.Level, told: int, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level)
    log = structlog.get_logger()
    for tell in (log.debug, log.info, log.warning, log.error):
        tell("something")
    assert len(lines(capsys)) == told


class FullDisk(io.TextIOBase):
    """Takes nothing while it is full."""

    def __init__(self) -> None:
        self.full = True
        self.taken = ""

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.taken += text
        return len(text)


def test_a_log_that_takes_no_lines_stops_nothing_and_says_so_later(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FullDisk()
    monkeypatch.setattr(sys, "stderr", disk)
    logs.configure()
    log = structlog.get_logger("one")
    log.warning("lost")
    logging.getLogger("uvicorn.error").error("lost too")
    disk.full = False
    structlog.get_logger("another").info("seen")
    log.info("seen as well")
    told = [json.loads(line) for line in disk.taken.splitlines()]
    assert [one["event"] for one in told] == ["the log took no lines for a while", "seen", "seen as well"]
    assert told[0]["refused"] == 2


def test_a_log_on_a_device_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whole buffers of it, and the interpreter's own way of writing to standard error.
    full = Path("/dev/full").open("w", encoding="utf-8", buffering=1)  # noqa: SIM115 - it can't be closed
    monkeypatch.setattr(sys, "stderr", full)
    logs.configure()
    for _ in range(200):
        structlog.get_logger().warning("lost", why="x" * 500)
    with pytest.raises(OSError, match="No space left"):
        full.close()


def app() -> FastAPI:
    made = FastAPI()
    problems.install(made)

    @made.get("/users/{user_id}")
    def show(user_id: str) -> dict[str, str]:
        if user_id == "lost":
            raise DatabaseUnavailable("the database does not answer; try again")
        if user_id == "broken":
            raise ValueError(MARK)
        structlog.get_logger().info("asked")
        return {}

    made.add_middleware(ObserveRequests)
    return made


def test_a_request_is_one_line_at_debug_and_lines_within_it_share_its_id(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("debug")
    provider = TracerProvider()
    made = app()
    made._telemetry["tracer_provider"] = (
        provider  # the same as FastAPI(telemetry=…), for an app that is there
    )
    TestClient(made).get(f"/users/{MARK}?q={MARK}", headers={"X-Request-Id": MARK})
    said = capsys.readouterr().err
    assert MARK not in said
    within, line = map(json.loads, said.splitlines())
    assert (line["route"], line["method"], line["status"], line["level"]) == (
        "/users/{user_id}",
        "GET",
        200,
        "debug",
    )
    assert line["ms"] > 0
    assert within["event"] == "asked"
    assert within["request_id"] == line["request_id"]
    assert within["trace_id"] == line["trace_id"]
    assert len(str(line["trace_id"])) == 32


def test_failures_are_told_at_every_level_and_carry_the_requests_id(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("warning")
    client = TestClient(app(), raise_server_exceptions=False)
    assert "x-request-id" not in client.get("/users/1").headers
    lost = client.get("/users/lost")
    broken = client.get("/users/broken")
    unknown = client.get(f"/{MARK}")
    said = capsys.readouterr().err
    assert MARK not in said
    told = [json.loads(line) for line in said.splitlines()]
    assert [(one["event"], one["level"]) for one in told] == [
        ("request failed", "warning"),
        ("request", "warning"),
        ("request", "warning"),
        ("unexpected error", "error"),
    ]
    assert {one["request_id"] for one in told[:2]} == {lost.headers["x-request-id"]}
    assert told[2]["status"] == broken.status_code == 500
    assert unknown.headers["x-request-id"] not in said
    assert told[3]["request_id"] == told[2]["request_id"]


def test_a_terminal_gets_readable_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    logs.configure()
    structlog.get_logger().info("something", user_id=MARK)
    said = capsys.readouterr().err
    assert "something" in said
    assert MARK not in said
    assert not said.startswith("{")
