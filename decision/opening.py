"""Opens what a service stands on: its database, the library in it, and what decisions are first made from."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from audiences.selection.service import Audiences
from decision.evaluating.competing import first_in_charge
from decision.files import LibraryFiles
from decision.fitting import Fitting
from decision.optimising.settings import tell_settings
from decision.reach import AudienceReach
from decision.settings import Settings
from decision.shaping import from_file
from learning.challengers.promoting import Promoting
from playbooks.controls.models import Controls
from playbooks.controls.repository import in_force
from playbooks.library import Library
from playbooks.library.changes import FOLDER
from playbooks.library.loading import Loader
from playbooks.library.service import LibraryService
from playbooks.matching import Snapshot
from playbooks.policy import Policy
from playbooks.shaping import Shaping, holds_with
from storage.clock import Clock
from storage.engine import Database
from storage.turns import Borrower
from storage.writability import change_nothing

# Unless the URL says otherwise; without them an unreachable machine is waited for for minutes.
_PATIENCE = {"connect_timeout": "10", "tcp_user_timeout": "10000"}


def open_database(settings: Settings, turns: Borrower | None = None) -> Database:
    """Open the database of the settings; on SQLite, with `turns`, as the guest of the process that owns it.

    A SQLite file is created or brought up to date, for nobody else uses it. Postgres is not: other processes
    may run on it.

    Raises:
        StorageError: it can't be opened; on Postgres also when its schema is not that of the code.
    """
    url = settings.url
    if not url.startswith("postgres"):
        database = Database(url, turns=turns)
        try:
            # A file that may only be read is found out before a decision needs it.
            database.write(change_nothing)
        except BaseException:
            database.close()
            raise
        return database
    # A machine that does not answer at all would be waited for by the operating system, for minutes.
    return Database(_patient(url), create=False)


def open_library(
    database: Database, clock: Clock, files: LibraryFiles, audiences: Audiences
) -> LibraryService:
    """Return the library as people work on it, checked against everything else there is."""
    known = audiences.catalogs

    def costs() -> Mapping[str, float]:
        with database.read() as connection:
            return holds_with(connection, files.policy.shaping).costs

    check = Fitting(
        lambda: known.read().specs,
        files.policy,
        files.vocabulary,
        files.asked,
        files.in_flows,
        files.channels,
        costs=costs,
    )
    return LibraryService(database, clock, check, AudienceReach(database))


def open_snapshot(
    settings: Settings,
    database: Database,
    clock: Clock,
    files: LibraryFiles,
    library: LibraryService,
    loader: Loader,
    promoting: Promoting,
) -> Snapshot:
    """Publish what the files say, and return what decisions are made from now on."""
    library.import_(files.draft, by=FOLDER, source=FOLDER, publish=True, whole=True, approval=files.approval)
    with database.read() as connection:
        live, controls = loader.newer(connection) or Library(()), in_force(connection)
    tell_settings(database, clock, files)
    shaping = from_file(database, clock, files.policy.shaping)
    policy = first_in_charge(database, clock, files, promoting)
    return snapshot_of(settings, files, live, policy.serve(files.policy_inputs), controls, shaping)


def snapshot_of(
    settings: Settings,
    files: LibraryFiles,
    library: Library,
    policy: Policy,
    controls: Controls,
    shaping: Shaping,
) -> Snapshot:
    """Return what decisions are made from, by what the settings and the files say beside the database."""
    return Snapshot(
        library,
        policy,
        settings.seed,
        settings.holdout,
        controls,
        shaping.guards,
        shaping.costs,
        files.policy.fallbacks,
    )


def _patient(url: str) -> str:
    try:
        parsed = make_url(url)
    except ArgumentError:
        # The database says what is wrong with it.
        return url
    missing = {name: value for name, value in _PATIENCE.items() if name not in parsed.query}
    return parsed.update_query_dict(missing).render_as_string(hide_password=False)
