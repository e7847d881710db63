"""Puts the rooms together: one service, from its settings to something that answers."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial

import structlog

from audiences.accounts.primary import PrimaryAccounts
from audiences.features import FeastFeatureReader
from audiences.identity.service import IdentityService
from audiences.scores.service import Scores
from audiences.selection.counting import Count
from audiences.selection.partitions import OverRay
from audiences.selection.service import Audiences
from audiences.selection.standing import Standing
from audiences.stages.service import Stages
from decision.apart.supervisor import JobsApart
from decision.background import jobs_of, trainings_of
from decision.decider import Decider
from decision.decision_log import DecisionLog
from decision.delivering import channels_of, open_delivery
from decision.erasure import Erasure
from decision.evaluating.competing import open_promoting
from decision.files import DECIDE, LibraryFiles, read_files
from decision.following import Follower
from decision.importing import open_imports
from decision.incoming import Incoming
from decision.inline import InlineMessages
from decision.jobs import JobRunner
from decision.opening import open_database, open_library, open_snapshot
from decision.processes import API, JOBS, SINGLETONS, Closed, LeaseKeeper, Process, process_name, within
from decision.scheduling import JobSchedule, Scheduler
from decision.selecting import Selecting
from decision.settings import Settings
from decision.surroundings import Surroundings
from delivery.channels.channel import close_channels
from delivery.outbox_repository import give_back
from feature_repo.store import FeatureRepository
from learning import version_repository
from learning.challengers.repository import in_charge
from learning.training import Training
from playbooks.counters import open_counters
from playbooks.library.loading import Loader
from storage.clock import Clock, SimulatedClock, SystemClock
from storage.leases import Fence, Leases
from storage.ledger import Kind
from storage.retention import retention_of
from storage.turns import Borrower

_log = structlog.get_logger(__name__)

# The name of the only process over a SQLite file.
_ALONE = "delivery"
_READ_FEATURES = frozenset((API, "push", "features", "audiences"))
# Feature services that are read online; views of no other service are put there.
ONLINE_SERVICES = (DECIDE,)
# Of the time to stop, the share kept for queued writes and leases when jobs take long.
_RESERVE = 0.2


class Service:
    """Everything that runs in one process. Close it to finish what is under way."""

    jobs: JobRunner
    _schedule: JobSchedule
    # Where requests are answered, and where there is something to learn.
    _follower: Follower | None = None
    training: Training | None = None

    def __init__(
        self,
        settings: Settings,
        process: Process | None = None,
        *,
        files: LibraryFiles | None = None,
        apart: JobsApart | None = None,
        turns: Borrower | None = None,
    ) -> None:
        """Open the database; to answer requests, also publish the library and load the policy in charge.

        Args:
            files: of the library, if they were read already.
            apart: a process for the jobs, which is started; None: they run in this one.
            turns: in the process of the jobs, those of the SQLite file's owner.

        Raises:
            NextplayError: something is missing, wrong or in use; nothing was half-done.
        """
        self.settings = settings
        self.process = process or Process()
        self.draining = False
        self.apart = apart
        self.clock: Clock = SimulatedClock(settings.clock) if settings.clock else SystemClock()
        # All files are read before anything is opened or written.
        self.files = files = files or read_files(settings.library_folder)
        with ExitStack() as opened:
            self.database = open_database(settings, turns)
            opened.callback(self.database.close)
            self.keeper: LeaseKeeper | None = None
            name = _ALONE
            if apart is None:
                name, self.keeper = self._life(opened)
            self.identity = IdentityService(
                self.database, settings.identities, phone_region=settings.phone_region
            )
            # Before anything else is written: their server may be away.
            self.counters = counters = open_counters(
                self.database, settings.counters_url, self.identity.people
            )
            opened.callback(counters.close)
            self.incoming = Incoming(self.database, self.clock, settings, files, self.identity)
            self.intake = self.incoming.intake
            self.features = FeatureRepository(
                settings.data / "features",
                files.specs,
                online=ONLINE_SERVICES,
                online_url=settings.online_url,
            )
            opened.callback(self.features.close)
            if self.process.roles & _READ_FEATURES and turns is None:
                self.features.apply()
            fences = {job: Fence(self.database) for job in SINGLETONS}
            self.accounts = accounts = PrimaryAccounts(
                self.database, self.identity.people, files.account_traits
            )
            standing = Standing(
                Scores(self.database, self.clock, files.scores, self.identity.people),
                Stages(self.database, files.lifecycles, self.identity.people),
                accounts,
            )
            self.audiences = Audiences(
                self.database,
                self.features,
                files.definitions,
                files.schema,
                sources=[standing],
                canonical=self.identity.people.canonical,
                accounts=accounts,
                fenced=fences["audiences"].database,
                reader=OverRay(settings.ray_address, self.features) if settings.ray_address else None,
            )
            self.selecting = Selecting(
                self.database,
                self.clock,
                files,
                self.features,
                self.audiences,
                self.identity.people,
                accounts,
                fences,
            )
            self.imports = open_imports(
                self.database, self.clock, self.intake, self.incoming.consents, counters, files.draft
            )
            self.channels = channels_of(
                settings, files.channels, self.database, self.clock, self.incoming.consents
            )
            opened.callback(close_channels, self.channels)
            self.erasure = Erasure(
                self.database,
                self.clock,
                features=self.features,
                channels=self.channels,
                counters=counters,
                done=self._read_memberships,
            )
            self.delivery, self.recipients, again = open_delivery(
                settings,
                self.database,
                self.clock,
                files,
                self.features,
                self.audiences.memberships,
                standing,
                self.identity.people,
                accounts,
                counters,
                self.channels,
                self.incoming.traits,
                self.incoming.consents,
                scores=self.selecting.scores,
                holder=name,
            )
            self.promoting = open_promoting(self.database, self.clock, files, self.identity.people)
            self.library = open_library(self.database, self.clock, files, self.audiences)
            if API in self.process.roles:
                loader = self.loader_of(files)
                self.decider = Decider(
                    self.database,
                    self.clock,
                    FeastFeatureReader(self.features, DECIDE, self.clock),
                    self.audiences.memberships,
                    self.delivery,
                    counters,
                    open_snapshot(
                        settings, self.database, self.clock, files, self.library, loader, self.promoting
                    ),
                    self.identity.people,
                    self.identity.lookup,
                    version_repository.mark_used,
                    files.insiders.everybody,
                    files.policy.told,
                    Surroundings(
                        self.database, counters, self.identity.people, accounts, files.triggers.zones
                    ),
                    InlineMessages(self.recipients),
                )
                self._follower = Follower(
                    self.database,
                    self.decider,
                    self.audiences.memberships,
                    policy=partial(in_charge, slot=files.policy.id, known=files.policies),
                    inputs=files.policy_inputs,
                    identity=self.identity,
                    loader=loader,
                )
            if apart is not None:
                apart.open(self.clock, self.database.writer, self._published)
                self.jobs = self._schedule = apart
            else:
                self.delivery.recover()
                trainings = trainings_of(
                    files, fences["learn"].database, self.identity.people, opened, settings
                )
                self.training = trainings[0]
                self.jobs = jobs = jobs_of(self, trainings, again, fences)
                self._schedule = Scheduler(jobs, sorted(self.process.roles & set(JOBS)))
            self._opened = opened.pop_all()

    def start(self) -> None:
        """Follow what others publish, and start the jobs unless the settings leave them to be asked for."""
        # Before anything comes in: what comes from now on is no history to a new score.
        self.selecting.scores.begin()
        self.incoming.events.start()
        if self._follower is not None:
            self._follower.start()
        if self.settings.schedule:
            if self.keeper is not None:
                self.keeper.want(sorted(self.process.roles & set(SINGLETONS)))
            self._schedule.start()
        _log.info("started", roles=sorted(self.process.roles))

    def close(self, seconds: float | None = None) -> Closed:
        """Stop jobs between batches, finish queued writes, give leases back, let go of everything.

        Args:
            seconds: how long that may take; None: `process.drain`.

        Returns:
            What ended in time. What did not is as safe as after a crash; the process should end at once.
        """
        self.draining = True
        seconds = self.process.drain if seconds is None else seconds
        until = time.monotonic() + seconds
        ended = self._schedule.stop(seconds * (1 - _RESERVE))
        if ended.jobs:
            _log.warning("jobs did not end in time; they go on when they run again", jobs=ended.jobs)
        if not self.delivery.finish(max(0.0, until - time.monotonic())):
            _log.warning("channels still have messages in hand; what came of them is not recorded")
        self.incoming.events.stop()
        if self._follower is not None:
            self._follower.stop()
        if self.keeper is None:
            written = within(until, self.database.close)
        else:
            written = within(until, self.database.writer.close)
            within(until, self.keeper.stop)
        all_ended = not ended.jobs and written and within(until, self._opened.close)
        return Closed(written and ended.written, all_ended, ended.jobs)

    @property
    def decisions(self) -> DecisionLog:
        """The log of decisions, one at a time."""
        kept = retention_of(self.settings.retention).get(Kind.DECISION)
        return DecisionLog(self.database, self.clock, kept)

    def counted(self, rule: str) -> Count | None:
        """Let the process that evaluates audiences count a rule; None if it has no users in memory."""
        return None if self.apart is None else self.apart.count(rule)

    def insiders(self) -> set[str]:
        """Return every profile of the library's test users and seeds."""
        return {
            profile for one in self.files.insiders.everybody for profile in self.identity.people.members(one)
        }

    def follow(self) -> None:
        """Serve at once what was just published here."""
        if self._follower is not None:
            self._follower.refresh()

    def _published(self, job: str) -> None:
        """Serve what a job in another process has published."""
        if job == "audiences":
            # A second evaluation as of the same moment looks to the follower like the first.
            with self.database.read() as connection:
                self.audiences.memberships.load(connection)
        self.follow()

    def _life(self, opened: ExitStack) -> tuple[str, LeaseKeeper | None]:
        """Return the name of this process, and what keeps its leases if there may be other processes.

        One server owns a SQLite file, so its name is always the same, and messages under that name are those
        of a process that is gone. On Postgres every process has a name of its own for as long as it lives.
        """
        if self.database.is_sqlite:
            return _ALONE, None
        name = process_name()
        keeper = LeaseKeeper(Leases(self.database), name, self.process.lease, self._take_back)
        opened.callback(keeper.stop)
        keeper.start()
        return name, keeper

    def _read_memberships(self) -> None:
        with self.database.read() as connection:
            self.audiences.memberships.load(connection)

    def _take_back(self, process: str) -> int:
        now = self.clock.now()
        return self.database.write(lambda connection: give_back(connection, process, now))

    def loader_of(self, files: LibraryFiles) -> Loader:
        """Return what reads the library as it is served, by what the files say of placements and rules."""
        return Loader(
            self.settings.seed,
            self.identity.people.canonical,
            files.policy.placements,
            files.asked.schema,
        )
