"""The command line: `nextplay serve`, `nextplay work`, `nextplay migrate`, `nextplay demo`."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer
from msgspec.structs import replace

if TYPE_CHECKING:
    from decision.apart.supervisor import JobsApart
    from decision.files import LibraryFiles
    from decision.wiring import Service
    from storage.turns import Borrower

from decision import (
    audience_commands,
    channel_commands,
    control_commands,
    coupon_commands,
    crm_commands,
    decision_commands,
    feature_commands,
    import_commands,
    key_commands,
    ledger_commands,
    people_commands,
    plan_commands,
    playbook_commands,
    quarantine_commands,
    user_commands,
)
from decision.batch_command import decide_batch
from decision.bench_command import bench
from decision.doctor import doctor
from decision.errors import PortInUse
from decision.evaluating import policies_command
from decision.evaluating.command import evaluate
from decision.evaluating.experiments_command import experiments
from decision.init_command import init
from decision.logs import configure
from decision.observe import traces
from decision.optimising import command as changes_command
from decision.precedence import requests_after_the_writer
from decision.processes import API, JOBS, ROLES, Process, StopSignals, parse_roles
from decision.quality_command import quality
from decision.recall_command import recall
from decision.rewarding import command as rewards_command
from decision.sandbox_command import sandbox
from decision.settings import Settings, library_there, load_settings
from decision.simulate_command import simulate
from decision.training_commands import train, tune
from feature_repo.errors import FeatureRepositoryError
from storage import collecting
from storage.errors import ConfigurationError, DatabaseUnavailable, NextplayError
from storage.records import know_all

_log = structlog.get_logger(__name__)

# How long a thread that computes may keep the others from running: the default of 5 ms, once for each thread
# of a job, is what a request would wait at each of its steps.
SWITCH_SECONDS = 0.0005

# Longer than clients keep an idle connection, so that it is they who close it: a server that closes first
# meets requests already on their way.
KEEP_ALIVE_SECONDS = 75
# Of the time to stop, the share that requests under way may take.
_REQUESTS_SHARE = 0.6

_HELP = "Decide what to offer whom, and learn from what happens. Begin with `nextplay init FOLDER`."
app = typer.Typer(add_completion=False, no_args_is_help=True, help=_HELP, rich_markup_mode=None)
_FIRST = (init, doctor, bench, decide_batch, quality, recall)
for _command in (*_FIRST, evaluate, experiments, simulate, sandbox, train, tune):
    app.command()(_command)
for _name, _group, _about in (
    ("ledger", ledger_commands.app, "Count, recount, thin out and export the facts."),
    ("decisions", decision_commands.app, "Export the decision log, with rewards."),
    ("keys", key_commands.app, "Make, list, rotate and revoke API keys."),
    ("audiences", audience_commands.app, "Test an audience on labelled users."),
    ("import", import_commands.app, "Import events, and what was before."),
    ("plan", plan_commands.app, "Check a tracking plan, and try events on it."),
    ("quarantine", quarantine_commands.app, "See what was set aside, and replay it."),
    ("users", user_commands.app, "Show, join, take apart and erase people."),
    ("features", feature_commands.app, "Look at what features are computed from."),
    ("crm", crm_commands.app, "Reconcile with a CRM, and see what waits."),
    ("people", people_commands.app, "See who does which tasks, and let somebody leave."),
    ("playbooks", playbook_commands.app, "Look after the library of playbooks."),
    ("changes", changes_command.app, "Read the optimisation log, and take changes back."),
    ("rewards", rewards_command.app, "See what arms earned, and what did not count."),
    ("policies", policies_command.app, "Compare, promote and rebuild policies."),
    ("controls", control_commands.app, "Pause, drain and resume what goes out."),
    ("coupons", coupon_commands.app, "Show, void, share and stock coupons."),
):
    app.add_typer(_group, name=_name, short_help=_about)
app.command("channels")(channel_commands.channels)

_DEFAULTS = Process()
Data = Annotated[Path | None, typer.Option(help="Folder that holds everything the service keeps.")]
Library = Annotated[Path | None, typer.Option(help="Library folder, if not <data>/library.")]
Drain = Annotated[float, typer.Option(envvar="NEXTPLAY_DRAIN", min=0, help="Seconds that stopping may take.")]
Lease = Annotated[
    float,
    typer.Option(
        envvar="NEXTPLAY_LEASE", min=0.5, help="Seconds after its death another process takes over a job."
    ),
]


@app.command()
def serve(
    data: Data = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    library: Library = None,
    seed: Annotated[str | None, typer.Option(help="Seed of every draw.")] = None,
    clock: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%dT%H:%M:%S%z"], help="Live at this moment, moved over HTTP."),
    ] = None,
    schedule: Annotated[bool | None, typer.Option(help="Run the jobs by themselves.")] = None,
    roles: Annotated[
        str, typer.Option(envvar="NEXTPLAY_ROLES", help=f"What this process does, of {', '.join(ROLES)}.")
    ] = ",".join(ROLES),
    drain: Drain = _DEFAULTS.drain,
    notice: Annotated[
        float,
        typer.Option(
            envvar="NEXTPLAY_NOTICE", min=0, help="Seconds to answer on, not ready, before stopping."
        ),
    ] = _DEFAULTS.notice,
    lease: Lease = _DEFAULTS.lease,
) -> None:
    """Serve the API, and run the jobs of the loop."""
    process = Process(parse_roles(roles), drain, notice, lease)
    if API not in process.roles:
        raise ConfigurationError(
            f"`nextplay serve` answers requests, so {API} must be among its roles; start a process that only "
            "runs jobs with `nextplay work`"
        )
    settings = load_settings(
        data=data, host=host, port=port, library=library, seed=seed, clock=clock, schedule=schedule
    )
    configure(settings.log_level)
    _serve(settings, process)


@app.command()
def work(
    data: Data = None,
    library: Library = None,
    roles: Annotated[
        str, typer.Option(envvar="NEXTPLAY_ROLES", help=f"Jobs this process runs, of {', '.join(JOBS)}.")
    ] = ",".join(JOBS),
    drain: Drain = _DEFAULTS.drain,
    lease: Lease = _DEFAULTS.lease,
) -> None:
    """Run jobs beside `nextplay serve`, on Postgres."""
    process = Process(parse_roles(roles, JOBS), drain, 0.0, lease)
    settings = load_settings(data=data, library=library, schedule=True)
    if settings.url.startswith("sqlite"):
        raise ConfigurationError(
            "one process owns a SQLite file, and `nextplay serve` runs the jobs itself; to run them in "
            "processes of their own, set NEXTPLAY_DATABASE_URL to a Postgres database"
        )
    configure(settings.log_level)
    traces.configure()
    _work(settings, process)


@app.command()
def migrate(data: Data = None) -> None:
    """Bring the database to the schema of this version; one written by a newer version is refused."""
    from storage.engine import Database  # noqa: PLC0415 - with the next, not needed to say what is wrong
    from storage.migrate import current_revision  # noqa: PLC0415

    alembic = logging.getLogger("alembic.runtime.migration")
    alembic.setLevel(logging.INFO)
    alembic.addHandler(_MigrationSteps())
    database = Database(load_settings(data=data).url)
    try:
        with database.read() as connection:
            print(f"the database is at schema {current_revision(connection)}")  # noqa: T201
    finally:
        database.close()


@app.command()
def demo(
    data: Annotated[Path, typer.Option(help="Where the run is kept.")] = Path("var/demo"),
    seed: Annotated[str, typer.Option(help="Seed of every draw; one seed, one result.")] = "demo",
    fresh: Annotated[bool, typer.Option(help="Replace an earlier run.")] = False,
) -> None:
    """Run the four stages on the Complete Journey retail data, through a service of its own."""
    from decision.demo.command import run_demo  # noqa: PLC0415 - pandas and plots, needed here only

    run_demo(data, seed=seed, fresh=fresh)


def main() -> None:
    """Run the command line; an error of ours is one message on standard error and exit code 1."""
    # What a command prints is for whoever reads it, a program perhaps: its log goes to standard error.
    configure("warning")
    try:
        app(standalone_mode=True)
    except (NextplayError, FeatureRepositoryError) as error:
        # What a driver says may have several lines.
        said = " ".join(str(error).split()) if isinstance(error, DatabaseUnavailable) else str(error)
        print(f"nextplay: {said}", file=sys.stderr)  # noqa: T201 - this is the command line's voice
        sys.exit(1)


class _MigrationSteps(logging.Handler):
    """Prints each step that Alembic takes."""

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if said.startswith("Running upgrade"):
            before, _, after = said.removeprefix("Running upgrade").partition(" -> ")
            print(f"schema {before.strip() or 'none'} → {after.replace(', ', ': ', 1)}")  # noqa: T201


def _serve(settings: Settings, process: Process) -> None:
    listening = _listen(settings.host, settings.port)
    try:
        # Said before the seconds that imports take.
        library_there(settings.library_folder)
        apart, files = _jobs_apart(settings, process, listening)
        # From here on there are threads.
        import uvicorn  # noqa: PLC0415 - the commands that serve nothing start faster without it

        from decision.app import create_app  # noqa: PLC0415 - seconds
        from decision.wiring import Service  # noqa: PLC0415

        traces.configure()
        front = replace(process, roles=frozenset({API}))
        service = Service(settings, front, files=files, apart=apart)
    except BaseException:
        listening.close()
        raise
    sys.setswitchinterval(SWITCH_SECONDS)
    if service.database.writer.at_once == 1:
        requests_after_the_writer()
    config = uvicorn.Config(
        create_app(service),
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    collecting.settle()
    server = uvicorn.Server(config)
    host, port = listening.getsockname()[:2]
    _log.info("listening", at=f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    # Off the main thread uvicorn leaves signals alone: what they do, and in which order, is decided here.
    http = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="http", daemon=True)
    stop = StopSignals()
    http.start()
    asked = stop.wait(while_true=http.is_alive)
    until = time.monotonic() + process.drain
    _log.info("stopping")
    service.draining = True
    time.sleep(min(process.notice, process.drain))
    config.timeout_graceful_shutdown = max(1, int((until - time.monotonic()) * _REQUESTS_SHARE))
    server.should_exit = True
    http.join(max(0.0, until - time.monotonic()))
    _end(service, until, clean=asked and not http.is_alive())


def _jobs_apart(
    settings: Settings, process: Process, listening: socket.socket
) -> tuple[JobsApart, LibraryFiles]:
    """Read the library, and fork what the jobs' process comes from, before there are threads."""
    # Imports what the server and the jobs need, so that both share it.
    from decision import app as _app  # noqa: F401, PLC0415
    from decision.apart.jobs_process import live  # noqa: PLC0415
    from decision.apart.nursery import open_nursery  # noqa: PLC0415
    from decision.apart.supervisor import JobsApart  # noqa: PLC0415
    from decision.files import read_files  # noqa: PLC0415
    from decision.wiring import Service  # noqa: PLC0415
    from feature_repo.feast_import import import_feast  # noqa: PLC0415

    import_feast()
    know_all()
    files = read_files(settings.library_folder)
    roles = process.roles - {API}

    def opening(now: datetime | None, turns: Borrower | None) -> Service:
        traces.configure()
        moment = settings.model_copy(update={"clock": now})
        return Service(moment, replace(process, roles=roles), files=files, turns=turns)

    return JobsApart(open_nursery(partial(live, opening), private=[listening])), files


def _work(settings: Settings, process: Process) -> None:
    from decision.observe.api import show_alone  # noqa: PLC0415
    from decision.wiring import Service  # noqa: PLC0415 - imports Feast, seconds

    service = Service(settings, process)
    if settings.metrics_port:
        show_alone(service, settings.metrics_port)
    stop = StopSignals()
    service.start()
    stop.wait()
    _log.info("stopping")
    _end(service, time.monotonic() + process.drain, clean=True)


def _end(service: Service, until: float, *, clean: bool) -> None:
    """Close a service and end the process: with 0 if it was asked to stop and nothing queued was left."""
    closed = service.close(until - time.monotonic())
    _log.info("stopped", written=closed.written)
    if not clean:
        sys.exit(1)
    if not closed.all_ended:
        # A thread that is still at work would keep the interpreter from ending.
        sys.stderr.flush()
        os._exit(0 if closed.written else 1)


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything is opened, so that one in use costs nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(socket.SOMAXCONN)
    except OSError as error:
        listening.close()
        raise PortInUse(
            f"can't listen on {host}:{port} ({error.strerror}): stop what uses it, or name another --port"
        ) from error
    return listening
