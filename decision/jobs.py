"""The jobs that join the stages into a loop: run when asked for, or by themselves (`decision.scheduling`)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

import msgspec
import structlog

from audiences.accounts.primary import PrimaryAccounts
from audiences.feeds import FeatureFeed
from audiences.identity.service import IdentityService
from audiences.liveness.service import Liveness
from audiences.machines.service import MachineEvents
from audiences.quality.service import Quality
from audiences.selection.service import Audiences
from decision.errors import UnknownJob
from decision.observe import metrics
from decision.processes import LeaseKeeper
from decision.returning import ReceiptsJob
from decision.selecting import Selecting
from delivery.protecting import Protecting
from delivery.service import Delivery
from feature_repo.store import FeatureRepository
from learning.challengers.job import Watch, learn_all
from learning.reward_service import RewardService
from learning.training import Training
from playbooks.library.pilots import Pilots
from storage.clock import Clock
from storage.leases import Fence

_log = structlog.get_logger(__name__)

Report = dict[str, Any]

_EVERYBODY = timedelta(minutes=15)


class JobRunner(Protocol):
    """Runs jobs when asked, wherever they run."""

    def run(self, name: str) -> Report:
        """Run a job now and return what it did (see `Jobs.run`)."""
        ...


class Jobs:
    """One run of a job at a time; different jobs may run side by side."""

    def __init__(
        self,
        *,
        clock: Clock,
        identity: IdentityService,
        accounts: PrimaryAccounts,
        feed: FeatureFeed,
        computed: FeatureFeed,
        features: FeatureRepository,
        audiences: Audiences,
        selecting: Selecting,
        begin: Callable[[], int],
        machines: MachineEvents,
        quality: Quality,
        liveness: Liveness,
        protecting: Protecting,
        delivery: Delivery,
        receipts: ReceiptsJob,
        rewards: RewardService,
        pilots: Pilots,
        trainings: Sequence[Training],
        watch: Watch,
        keep_ledger: Callable[[datetime], int],
        published: Callable[[], None],
        fences: Mapping[str, Fence],
        keeper: LeaseKeeper | None,
    ) -> None:
        """Wire the jobs.

        Args:
            feed: for the job `push`; `computed` for the job `features`, each behind its own fence.
            begin: decides for what triggers fired; returns how many decisions were made.
            trainings: of all policies, that of policy.yaml first.
            watch: over policies that are not in charge.
            keep_ledger: counts new facts and takes away those past their retention; returns how many went.
            published: called when something to serve was published.
            fences: of the jobs that run in one process at a time, by name.
            keeper: of the leases under which they run; None where there is only one process.
        """
        self._clock = clock
        self._identity = identity
        self._accounts = accounts
        self._feed = feed
        self._computed = computed
        self._features = features
        self._audiences = audiences
        self._selecting = selecting
        self._begin = begin
        self._machines = machines
        self._quality = quality
        self._liveness = liveness
        self._protecting = protecting
        self._delivery = delivery
        self._receipts = receipts
        self._rewards = rewards
        self._pilots = pilots
        self._trainings = trainings
        self._watch = watch
        self._keep_ledger = keep_ledger
        self._published = published
        self._fences = fences
        self._keeper = keeper
        self._jobs: Mapping[str, Callable[[], Report]] = {
            "push": self._push,
            "features": self._compute_features,
            "audiences": self._select,
            "scores": self._score,
            "triggers": self._trigger,
            "machines": self._settle_clicks,
            "quality": self._count_properties,
            "liveness": self._watch_sources,
            "receipts": self._follow_receipts,
            "protect": self._protect,
            "deliver": self._deliver,
            "reward": self._reward,
            "pilots": self._settle_pilots,
            "learn": self._learn,
            "shadow": partial(self._shadow, asked=True),
            "ledger": self._keep,
        }
        # What a job does at its interval, where that is less than when it is asked for.
        self._when_due: Mapping[str, Callable[[], Report]] = {
            "audiences": self._select_changed,
            "shadow": partial(self._shadow, asked=False),
        }
        self._running = {name: threading.Lock() for name in self._jobs}

    @property
    def names(self) -> list[str]:
        """Names of all jobs, in the order of the loop."""
        return list(self._jobs)

    def run(self, name: str, *, asked: bool = True) -> Report:
        """Run a job now and return what it did.

        Args:
            asked: somebody asked for it, so it does all it can, not only what is due.

        Raises:
            UnknownJob: there is no such job.
            LeaseHeld: it runs in another process.
        """
        job = self._jobs.get(name)
        if job is None:
            raise UnknownJob(f"there is no job {name!r}; the jobs are {', '.join(self._jobs)}")
        started = time.monotonic()
        job = job if asked else self._when_due.get(name, job)
        with self._running[name], self._turn(name), metrics.job(name):
            # Whoever was joined by another process meanwhile is one person here too.
            self._identity.refresh()
            report = job()
        return {"job": name, "seconds": round(time.monotonic() - started, 3), **report}

    def may_run(self, name: str) -> bool:
        """Whether a job may run in this process now."""
        return self._keeper is None or name not in self._fences or self._keeper.has(name)

    def stop(self) -> None:
        """Let the jobs that need no more than their next batch to be whole end before it."""
        self._delivery.stop()
        for fence in self._fences.values():
            fence.stop()

    @contextmanager
    def _turn(self, name: str) -> Iterator[None]:
        fence = self._fences.get(name)
        if fence is None:
            yield
        elif self._keeper is None:
            with fence.under(None):
                yield
        else:
            with self._keeper.taken(name) as lease, fence.under(lease):
                yield

    def _push(self) -> Report:
        return {"events": self._feed.push(self._clock.now())}

    def _compute_features(self) -> Report:
        now = self._clock.now()
        # The states first: then whoever has events that the snapshot lacks is known when it is published.
        self._computed.apply()
        events = self._computed.fill_history()
        position = self._computed.history_position()
        canonicals = self._identity.people.canonicals()
        users = self._features.snapshot(now, canonicals, self._accounts.everyone())
        if users:
            self._features.publish(now, position=position, canonicals=canonicals)
        self._computed.push(self._clock.now())
        return {"events": events, "users": users, "as_of": now}

    def _select(self) -> Report:
        now = self._clock.now()
        sizes = self._audiences.evaluate(now)
        return {"sizes": sizes, "placed": self._selecting.place(now)}

    def _select_changed(self) -> Report:
        """Select anew those of whom something was recorded; everybody when that is due."""
        now = self._clock.now()
        if not self._audiences.due(now, _EVERYBODY):
            sizes = self._audiences.evaluate_changed(now)
            if sizes is not None:
                return {"sizes": sizes}
        return self._select()

    def _score(self) -> Report:
        return {"grades_changed": self._selecting.score()}

    def _trigger(self) -> Report:
        return {"fired": self._selecting.trigger(), "decided": self._begin()}

    def _settle_clicks(self) -> Report:
        settled = self._machines.settle(self._clock.now())
        return {"people": settled.people, "machines": settled.machines}

    def _count_properties(self) -> Report:
        return {"events": self._quality.run()}

    def _watch_sources(self) -> Report:
        return dict(self._liveness.run(self._clock.now()))

    def _protect(self) -> Report:
        paused = self._protecting.run(self._clock.now())
        for one in paused:
            _log.warning("paused itself", scope=one.scope.value, target=one.target, why=one.why)
        return {"paused": [f"{one.scope.value} {one.target}" for one in paused]}

    def _follow_receipts(self) -> Report:
        return dict(self._receipts.run(self._clock.now()))

    def _deliver(self) -> Report:
        done: dict[str, int] = msgspec.to_builtins(self._delivery.run_until_idle())
        metrics.delivered(done)
        return {"done": done}

    def _reward(self) -> Report:
        done: Report = msgspec.to_builtins(self._rewards.mature(self._clock.now()))
        return done

    def _settle_pilots(self) -> Report:
        settled: list[Any] = msgspec.to_builtins(self._pilots.settle())
        if settled:
            self._published()
        return {"settled": settled}

    def _learn(self) -> Report:
        report = learn_all(self._trainings, self._clock.now())
        self._published()
        return report

    def _shadow(self, *, asked: bool) -> Report:
        report = self._watch.run(asked=asked)
        if report["promoted"] or report["rolled_back"]:
            self._published()
        return report

    def _keep(self) -> Report:
        return {"purged": self._keep_ledger(self._clock.now())}
