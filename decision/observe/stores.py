"""Checks of what is kept: the database and who owns it, the ledger's readers, the outbox, the features."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from audiences.feeds import HISTORY_READER, KINDS, PUSH_READER
from audiences.liveness.repository import alerts as open_alerts
from audiences.selection.runs import FAILED, LOST, latest
from decision.files import read_specs
from decision.observe.findings import Finding, Subject, fail, ok, warn
from decision.observe.looking import holder_of, looking, open_sqlite, sqlite_file
from decision.observe.standing import COUNT_LIMIT, file_sizes, latest_snapshot
from decision.scheduling import INTERVALS
from delivery.protecting import PROTECTION
from delivery.tables import enrolments, outbox
from feature_repo.definitions import PROJECT
from feature_repo.history import History
from learning import version_repository
from playbooks.controls import repository as controls_repository
from playbooks.controls.models import STOPPING
from storage.migrate import check_schema
from storage.readers import position_of
from storage.schema import facts

_MB = 1 << 20
_LARGE_WAL = 1 << 30
_QUICK_CHECK_SECONDS = 20
_STEPS_BETWEEN_LOOKS = 100_000
# A job that runs every few seconds and is this late does not run at all.
_STUCK = timedelta(minutes=10)
_CLOCKS_APART = timedelta(seconds=5)
_NO_DATABASE = "there is no database yet"


def owner(subject: Subject) -> Finding:
    """Who owns the SQLite file."""
    path = sqlite_file(subject.settings.url)
    if path is None:
        return ok("Postgres, shared by any number of processes")
    holder = holder_of(path.with_name(path.name + ".lock"))
    return ok(f"in use by {holder}" if holder else "not in use")


def database(subject: Subject) -> Finding:
    """The database answers and has the schema of this version."""
    path = sqlite_file(subject.settings.url)
    if path is not None and not path.exists():
        return warn(_NO_DATABASE, "`nextplay serve` makes it; is it the folder you meant?")
    try:
        with looking(subject.settings.url) as connection:
            # Raises what to do.
            check_schema(connection)
            refuses = _refuses_writes(connection)
            apart = _clock_difference(connection)
    except DBAPIError as error:
        said = " ".join(str(error.orig).split())
        return fail(f"it does not answer: {said}", "check NEXTPLAY_DATABASE_URL, and that it runs")
    if refuses is not None:
        return refuses
    if apart > _CLOCKS_APART:
        return warn(
            f"its clock and this machine's are {apart.total_seconds():.0f} s apart", "let NTP keep both"
        )
    return ok("it answers and has the schema of this version")


def integrity(subject: Subject) -> Finding:
    """The SQLite file is whole, and its log does not grow without end."""
    path = sqlite_file(subject.settings.url)
    if path is None:
        return ok("Postgres looks after its files itself")
    if not path.exists():
        return ok(_NO_DATABASE)
    sizes = file_sizes(path)
    said = f"{sizes['file'] / _MB:.0f} MB and a log of {sizes['wal'] / _MB:.0f} MB"
    with closing(open_sqlite(path)) as connection:
        give_up = time.monotonic() + _QUICK_CHECK_SECONDS
        connection.set_progress_handler(lambda: time.monotonic() > give_up, _STEPS_BETWEEN_LOOKS)
        try:
            wrong = [row[0] for row in connection.execute("PRAGMA quick_check(3)") if row[0] != "ok"]
        except sqlite3.OperationalError as error:
            if "interrupted" not in str(error):
                raise
            return warn(
                f"{said}; not wholly looked through in {_QUICK_CHECK_SECONDS} s", "nothing was wrong so far"
            )
        except sqlite3.DatabaseError as error:
            wrong = [str(error)]
    if wrong:
        return fail(f"the file is damaged: {'; '.join(wrong)}", "stop the service and restore a backup")
    if sizes["wal"] > _LARGE_WAL:
        return warn(said, "something reads for very long and keeps the log from being folded in: restart it")
    return ok(f"{said}; nothing wrong")


def deliveries(subject: Subject) -> Finding:
    """What is due is delivered."""
    return _on_tables(subject, _deliveries)


def controls(subject: Subject) -> Finding:
    """Nothing has paused itself."""
    return _on_tables(subject, _controls)


def audiences(subject: Subject) -> Finding:
    """Audiences are evaluated, and no evaluation hangs."""
    return _on_tables(subject, _audiences)


def policies(subject: Subject) -> Finding:
    """The newest policy versions are whole."""
    return _on_tables(subject, _policies)


def readers(subject: Subject) -> Finding:
    """Those who follow the ledger keep up, and the history belongs to this database."""
    return _on_tables(subject, _readers)


def feeds(subject: Subject) -> Finding:
    """Every source of events sends what it usually sends."""
    return _on_tables(subject, _feeds)


def snapshots(subject: Subject) -> Finding:
    """The features are fresh."""
    latest = latest_snapshot(subject.settings.data / "features" / "snapshots")
    if latest is None:
        return warn("no features were computed yet", "send events; the job `features` computes them")
    age = (subject.settings.clock or datetime.now(UTC)) - latest
    said = f"computed as of {latest:%Y-%m-%d %H:%M} UTC"
    if age > timedelta(seconds=3 * INTERVALS["features"]):
        return warn(
            f"{said}, {_rough(age)} ago", "see in the log why the job `features` does not run or fails"
        )
    return ok(said)


def online_store(subject: Subject) -> Finding:
    """Feast's registry and online store can be read and hold what is declared."""
    folder = subject.settings.data / "features"
    if not (folder / "registry.db").exists():
        return warn("there is no registry yet", "`nextplay serve` writes it")
    specs = read_specs(subject.settings.library_folder)
    declared = set(specs.views)
    from feature_repo.store import FeatureRepository  # noqa: PLC0415 - imports Feast, seconds

    registered = {view.name for view in FeatureRepository(folder, specs).feast.list_batch_feature_views()}
    if missing := sorted(declared - registered):
        return warn(f"the registry lacks {', '.join(missing)}", "restart `nextplay serve`: it applies them")
    if url := subject.settings.online_url:
        from feature_repo.valkey import ValkeyAccess  # noqa: PLC0415 - imports Arrow, a second

        # What it raises says what to do.
        ValkeyAccess(url, PROJECT, specs).ping()
        return ok(f"{len(declared)} views in the registry, and the online store's server answers")
    with closing(open_sqlite(folder / "online.db")) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if missing := sorted(view for view in declared if f"{PROJECT}_{view}" not in tables):
        return fail(f"the online store has no table of {', '.join(missing)}", "restart `nextplay serve`")
    return ok(f"{len(declared)} views in the registry and the online store")


def _deliveries(connection: Connection, subject: Subject) -> Finding:
    now = subject.settings.clock or datetime.now(UTC)
    late: Mapping[str, datetime | None] = {
        "an enrolment is due": connection.execute(select(func.min(enrolments.c.due_at))).scalar(),
        "a message waits": connection.execute(select(func.min(outbox.c.available_at))).scalar(),
    }
    for what, since in late.items():
        if since is not None and now - since > _STUCK:
            return warn(
                f"{what} since {since:%Y-%m-%d %H:%M} UTC",
                "see in the log why the job `deliver` does not run or fails",
            )
    return ok("nothing is late")


def _controls(connection: Connection, _subject: Subject) -> Finding:
    stopped = controls_repository.standing(connection, STOPPING)
    itself = [one for one in stopped if one.by == PROTECTION]
    if not itself:
        return ok(f"{len(stopped)} stopped by people" if stopped else "nothing is stopped")
    one = itself[0]
    return warn(
        f"{one.scope.value} {one.target} paused itself at {one.at:%Y-%m-%d %H:%M} UTC: {one.why}",
        f"look at what went out, then: nextplay controls resume {one.scope.value} {one.target}",
    )


def _audiences(connection: Connection, _subject: Subject) -> Finding:
    run = latest(connection)
    if run is None:
        return ok("none were evaluated yet")
    todo = "see in the log of the job `audiences` why; the next evaluation begins anew"
    if run.overdue(datetime.now(UTC)):
        return warn(
            f"the evaluation begun at {run.started_at:%Y-%m-%d %H:%M} UTC was not heard of since "
            f"{run.heartbeat_at:%H:%M}",
            todo,
        )
    if run.status in {FAILED, LOST}:
        return warn(f"the last evaluation is {run.status}: {run.problem}", todo)
    return ok(
        f"the last evaluation is {run.status}, of {run.users} users as of {run.as_of:%Y-%m-%d %H:%M} UTC"
    )


def _policies(connection: Connection, _subject: Subject) -> Finding:
    found = list(version_repository.damaged(connection))
    if not found:
        return ok("the newest versions are whole")
    said = "; ".join(f"{name}: {how}" for name, how in found[:3])
    return warn(
        f"{len(found)} policy versions are damaged and passed over ({said})",
        "the versions before them serve; check the disk, and restore a backup to score their decisions again",
    )


def _feeds(connection: Connection, _subject: Subject) -> Finding:
    found = open_alerts(connection)
    if not found:
        return ok("no source is silent, none sends far more than usual")
    said = "; ".join(
        f"{one.what} of {one.name or 'all events'} from {one.source} since {one.since:%Y-%m-%d %H:%M} UTC"
        for one in found
    )
    return warn(said, "look at the sender; `GET /v1/sources` shows what came and what usually does")


def _readers(connection: Connection, subject: Subject) -> Finding:
    last = connection.execute(select(func.max(facts.c.seq))).scalar() or 0
    history = History(
        subject.settings.data / "features" / "history", read_specs(subject.settings.library_folder).events
    )
    written = max((history.position(event) for event in history.schemas.events), default=0)
    if written > last:
        return fail(
            f"the feature history holds event {written}, the ledger ends at {last}",
            "database and folder are not of one time: restore both from the same backup",
        )
    waiting = {reader: _behind(connection, reader) for reader in (HISTORY_READER, PUSH_READER)}
    if waiting[PUSH_READER] >= COUNT_LIMIT:
        return warn(
            f"{COUNT_LIMIT} events or more wait to be pushed to the online store",
            "see in the log why the job `push` does not run or fails",
        )
    return ok(
        f"events not yet in the history: {waiting[HISTORY_READER]}, not yet online: {waiting[PUSH_READER]}"
    )


def _behind(connection: Connection, reader: str) -> int:
    position = position_of(connection, reader)
    new = select(facts.c.seq).where(facts.c.kind.in_(KINDS), facts.c.seq > position).limit(COUNT_LIMIT)
    return int(connection.execute(select(func.count()).select_from(new.subquery())).scalar_one())


def _on_tables(subject: Subject, look: Callable[[Connection, Subject], Finding]) -> Finding:
    path = sqlite_file(subject.settings.url)
    if path is not None and not path.exists():
        return ok(_NO_DATABASE)
    try:
        with looking(subject.settings.url) as connection:
            return look(connection, subject)
    except DBAPIError as error:
        return fail(f"it can't be read: {' '.join(str(error.orig).split())}", "see the check `database`")


def _refuses_writes(connection: Connection) -> Finding | None:
    """Return what keeps Postgres from taking writes; asked of its settings, for nothing is written here."""
    if connection.dialect.name == "sqlite":
        return None
    if connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one():
        return fail("it is a standby and takes no writes", "name the primary in NEXTPLAY_DATABASE_URL")
    if connection.exec_driver_sql("SHOW default_transaction_read_only").scalar_one() == "on":
        return fail(
            "it takes no writes: default_transaction_read_only is on",
            "turn it off for the database, its role or the server",
        )
    return None


def _clock_difference(connection: Connection) -> timedelta:
    if connection.dialect.name == "sqlite":
        return timedelta()
    theirs: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    return abs(datetime.now(UTC) - theirs)


def _rough(age: timedelta) -> str:
    hours = age // timedelta(hours=1)
    return f"{age.days} days" if age.days else f"{hours} hours" if hours else f"{age.seconds // 60} minutes"
