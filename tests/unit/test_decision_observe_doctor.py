"""The doctor: what it says of things that are wrong, and that it leaves everything as it was."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from sqlalchemy import insert
from typer.testing import CliRunner

from audiences.selection.runs import Runs
from decision import doctor
from decision.cli import app
from decision.demo.run import LIBRARY
from decision.observe import machine, served, stores
from decision.observe.findings import Finding, Subject, Verdict, ok
from decision.settings import load_settings
from delivery.tables import outbox
from storage.clock import SimulatedClock
from storage.engine import Database

NOW = datetime.now(UTC)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """A service that was started once and has a library."""
    data = tmp_path / "data"
    shutil.copytree(LIBRARY, data / "library")
    settings = load_settings(data=data, port=_free_port())
    Database(settings.url).close()
    return Subject(settings)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _file(subject: Subject) -> Path:
    return subject.settings.data / "nextplay.db"


def _wrong(finding: Finding, verdict: str, *words: str) -> None:
    assert finding.verdict == verdict, finding
    assert all(word in f"{finding.said} → {finding.todo}" for word in words), finding


def test_nothing_is_wrong_and_nothing_changes(subject: Subject) -> None:
    before = {path: path.stat().st_mtime_ns for path in subject.settings.data.rglob("*")}
    quick = {
        name: check for name, check in doctor.checks().items() if name not in ("online store", "learner")
    }
    found = {one.check: one.verdict for one in doctor.examine(subject, quick)}
    assert {name for name, verdict in found.items() if verdict != "ok"} == {"snapshots"}
    assert {path: path.stat().st_mtime_ns for path in subject.settings.data.rglob("*")} == before


def test_packages_that_are_missing_or_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lock = tmp_path / "use.lock"
    monkeypatch.setattr(machine, "_LOCK", lock)
    lock.write_text("fastapi==0.1.0 \\\n    --hash=sha256:0\nstructlog==1 ; python_version < '3.12'\n")
    _wrong(machine.packages(Subject(load_settings())), "warn", "fastapi", "instead of 0.1.0", "make demo")
    lock.write_text("no-such-package==1\nonly-elsewhere==1 ; sys_platform == 'win32'\n")
    _wrong(machine.packages(Subject(load_settings())), "fail", "missing: no-such-package")
    lock.unlink()
    assert machine.packages(Subject(load_settings())).verdict == "ok"


def test_no_room_and_no_folder(subject: Subject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "_LITTLE_ROOM", 1 << 60)
    _wrong(machine.disk(subject), "warn", "free some room")
    monkeypatch.setattr(machine, "_NO_ROOM", 1 << 60)
    _wrong(machine.disk(subject), "fail", "free some room now")
    _wrong(
        machine.data_folder(Subject(load_settings(data=tmp_path / "no" / "where"))), "warn", "not there yet"
    )
    (tmp_path / "file").touch()
    _wrong(machine.data_folder(Subject(load_settings(data=tmp_path / "file"))), "fail", "can't be written")


def test_a_simulated_clock_and_a_learner_that_cannot_start(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated = Subject(load_settings(data=subject.settings.data, clock=NOW))
    _wrong(machine.clock(simulated), "warn", "NEXTPLAY_CLOCK")
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    _wrong(machine.learner(subject), "fail", "can't start", "vowpal-wabbit-next")


@pytest.mark.parametrize(
    ("kept", "verdict", "said"),
    [
        ({}, "ok", "for ever"),
        ({"event": None, "decision": 1}, "ok", "for ever"),
        ({"event": 400, "past_event": 800}, "ok", "no feature's window is longer"),
        ({"event": 400, "past_event": 50}, "warn", "kept for 50 days"),
        ({"event": 50}, "warn", "NEXTPLAY_RETENTION"),
    ],
)
def test_events_that_go_before_features_have_seen_enough_of_them(
    kept: dict[str, int | None], verdict: str, said: str, subject: Subject
) -> None:
    settings = subject.settings.model_copy(update={"retention": kept})
    _wrong(served.retention(Subject(settings)), verdict, said)


def test_a_damaged_database(subject: Subject) -> None:
    path = _file(subject)
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\x99" * 4096 * 4)
    _wrong(stores.integrity(subject), "fail", "damaged", "restore a backup")
    path.write_bytes(b"not a database at all" * 1000)
    found = {one.check: one for one in doctor.examine(subject, {"integrity": stores.integrity})}
    assert found["integrity"].verdict == "fail"


@pytest.mark.parametrize(("revision", "said"), [("9999", "written by a newer"), ("0001", "nextplay migrate")])
def test_a_database_of_another_version(revision: str, said: str, subject: Subject) -> None:
    with closing(sqlite3.connect(_file(subject))) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
    (one,) = doctor.examine(subject, {"database": stores.database})
    assert one.verdict == "fail"
    assert said in one.said


def test_beside_an_open_database(subject: Subject) -> None:
    assert stores.owner(subject).said == "not in use"
    database = Database(subject.settings.url)
    try:
        assert stores.owner(subject).said == "in use by this process"
        late = NOW - timedelta(hours=2)
        row = {
            "key": "k",
            "enrolment_id": "e",
            "queued_at": late,
            "available_at": late,
            "attempts": 0,
            "state": "queued",
        }
        database.write(lambda connection: connection.execute(insert(outbox), [row]) and None)
        # What was written lies in the log of the file only.
        _wrong(stores.deliveries(subject), "warn", "a message waits since", "`deliver`")
        assert stores.integrity(subject).verdict == stores.database(subject).verdict == "ok"
        database.write(lambda connection: connection.execute(outbox.delete()) and None)
    finally:
        database.close()
    assert stores.deliveries(subject).verdict == "ok"


def test_an_evaluation_that_hangs_or_failed(subject: Subject) -> None:
    assert stores.audiences(subject).verdict == "ok"
    database = Database(subject.settings.url)
    try:
        long_ago = SimulatedClock(datetime.now(UTC) - timedelta(hours=1))
        runs = Runs(database, long_ago)
        run = runs.begin("full", NOW, 0, 0, "")
        _wrong(stores.audiences(subject), "warn", "was not heard of since", "`audiences`")
        runs.end(run, "failed", "no features were computed yet")
        _wrong(stores.audiences(subject), "warn", "no features were computed yet", "`audiences`")
        runs.end(runs.begin("full", NOW, 0, 0, ""), "done")
    finally:
        database.close()


def test_a_history_of_another_time(subject: Subject) -> None:
    part = subject.settings.data / "features" / "history" / "order_completed"
    part.mkdir(parents=True)
    (part / f"{1:019}-{77:019}.parquet").touch()
    _wrong(stores.readers(subject), "fail", "holds event 77, the ledger ends at 0", "same backup")


def test_old_features(subject: Subject) -> None:
    view = subject.settings.data / "features" / "snapshots" / "behaviour"
    view.mkdir(parents=True)
    (view / f"{NOW - timedelta(days=3):%Y%m%dT%H%M%S_%fZ}.parquet").touch()
    _wrong(stores.snapshots(subject), "warn", "3 days ago", "`features`")
    (view / f"{NOW:%Y%m%dT%H%M%S_%fZ}.parquet").touch()
    assert stores.snapshots(subject).verdict == "ok"


def test_postgres(empty_postgres_url: str, subject: Subject) -> None:
    def settings(url: str) -> Subject:
        return Subject(load_settings(data=subject.settings.data, database_url=url))

    (empty,) = doctor.examine(settings(empty_postgres_url), {"database": stores.database})
    assert "schema none" in empty.said
    Database(empty_postgres_url).close()
    asked = {"database": stores.database, "owner": stores.owner, "integrity": stores.integrity}
    more = {"readers": stores.readers, "deliveries": stores.deliveries}
    assert {one.verdict for one in doctor.examine(settings(empty_postgres_url), asked | more)} == {Verdict.OK}
    away = settings(f"postgresql://u:secret@127.0.0.1:{_free_port()}/x")
    finding = stores.database(away)
    _wrong(finding, "fail", "does not answer", "NEXTPLAY_DATABASE_URL")
    assert "secret" not in finding.said


def test_a_library_that_does_not_fit_together(subject: Subject) -> None:
    path = subject.settings.data / "library" / "policy.yaml"
    path.write_text(path.read_text().replace("kind: vw", "kind: magic"))
    (one,) = doctor.examine(subject, {"library": served.library})
    assert one.verdict == "fail"
    assert "policy.yaml" in one.said


class _Stranger(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_arguments: object) -> None:
        """Nobody wants to know."""


@contextmanager
def _strange_server(port: int) -> Iterator[None]:
    server = HTTPServer(("127.0.0.1", port), _Stranger)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_port(subject: Subject) -> None:
    assert "is free" in served.port(subject).said
    with _strange_server(subject.settings.port):
        _wrong(served.port(subject), "fail", "not nextplay", "--port")
    elsewhere = Subject(subject.settings, f"http://127.0.0.1:{_free_port()}", "np_x")
    _wrong(served.port(elsewhere), "fail", "nothing answers HTTP")
    _wrong(served.key(elsewhere), "fail", "does not answer")


def test_a_check_that_breaks_does_not_stop_the_others(subject: Subject) -> None:
    def broken(_subject: Subject) -> Finding:
        raise ZeroDivisionError("what now")

    found = list(doctor.examine(subject, {"broken": broken, "next": lambda _: ok("fine")}))
    assert [one.verdict for one in found] == ["fail", "ok"]
    assert found[0].said == "ZeroDivisionError: what now"
    assert doctor.worst_of(found) is Verdict.FAIL
    assert doctor.worst_of([]) is Verdict.OK


def test_the_command_says_it_in_words_and_ends_with_1(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["doctor", "--data", str(tmp_path / "nowhere")])
    assert run.exit_code == 1, run.output
    assert "fail  library" in run.stdout
    assert "there is no library folder" in run.stdout
    assert "→ `nextplay serve` makes it" in run.stdout
    assert list(tmp_path.iterdir()) == []
