"""The jobs that join the stages into a loop; each runs when asked for by name, or by itself at intervals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from audiences.feeds import FeatureFeed
from audiences.service import Audiences
from decision.decider import Decider
from decision.errors import UnknownJob
from delivery.service import Delivery
from feature_repo.store import FeatureRepository
from learning.policy import LearnedPolicy
from learning.reward_service import RewardService
from learning.training import Training
from learning.versions import PolicyVersion
from playbooks.matching import Snapshot
from storage.clock import Clock
from storage.errors import NextplayError

_log = structlog.get_logger(__name__)

Report = dict[str, Any]

# Seconds from the end of one run to the start of the next, when the service runs its jobs by itself.
INTERVALS: Mapping[str, float] = {
    "deliver": 0.5,
    "push": 0.5,
    "reward": 10.0,
    "learn": 60.0,
    "features": 900.0,
    "audiences": 900.0,
}


class Jobs:
    """One run of a job at a time; different jobs may run side by side."""

    def __init__(
        self,
        *,
        clock: Clock,
        decider: Decider,
        feed: FeatureFeed,
        features: FeatureRepository,
        audiences: Audiences,
        delivery: Delivery,
        rewards: RewardService,
        training: Training,
        load_policy: Callable[[str], PolicyVersion],
    ) -> None:
        self._clock = clock
        self._decider = decider
        self._feed = feed
        self._features = features
        self._audiences = audiences
        self._delivery = delivery
        self._rewards = rewards
        self._training = training
        self._load_policy = load_policy
        self._jobs: Mapping[str, Callable[[], Report]] = {
            "push": self._push,
            "features": self._compute_features,
            "audiences": self._select,
            "deliver": self._deliver,
            "reward": self._reward,
            "learn": self._learn,
        }
        self._running = {name: threading.Lock() for name in self._jobs}

    @property
    def names(self) -> list[str]:
        """Names of all jobs, in the order of the loop."""
        return list(self._jobs)

    def run(self, name: str) -> Report:
        """Run a job now and return what it did.

        Raises:
            UnknownJob: there is no such job.
        """
        job = self._jobs.get(name)
        if job is None:
            raise UnknownJob(f"there is no job {name!r}; the jobs are {', '.join(self._jobs)}")
        started = time.monotonic()
        with self._running[name]:
            report = job()
        return {"job": name, "seconds": round(time.monotonic() - started, 3), **report}

    def policy_of(self, version: str) -> LearnedPolicy:
        """Return a policy version that was ever in charge.

        Raises:
            learning.errors.UnknownVersion: it is not kept.
        """
        return self._load_policy(version).serve()

    def _push(self) -> Report:
        return {"events": self._feed.push()}

    def _compute_features(self) -> Report:
        now = self._clock.now()
        events = self._feed.fill_history()
        users = self._features.snapshot(now)
        if users:
            self._features.publish(now)
        self._feed.push()
        return {"events": events, "users": users, "as_of": now}

    def _select(self) -> Report:
        return {"sizes": self._audiences.evaluate(self._clock.now())}

    def _deliver(self) -> Report:
        return {"done": msgspec.to_builtins(self._delivery.run_until_idle())}

    def _reward(self) -> Report:
        return {"matured": self._rewards.mature(self._clock.now())}

    def _learn(self) -> Report:
        version = self._training.learn(self._clock.now())
        snapshot = self._decider.snapshot
        if version.version != snapshot.policy.version:
            self._decider.serve(Snapshot(snapshot.library, version.serve(), snapshot.seed))
        return {"policy": version.version, "trained": version.trained, "metrics": dict(version.metrics)}


class Scheduler:
    """Runs the jobs at their intervals, each in a thread of its own, until it is stopped."""

    def __init__(self, jobs: Jobs, intervals: Mapping[str, float] = INTERVALS) -> None:
        self._jobs = jobs
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(name, seconds), name=f"job-{name}", daemon=True)
            for name, seconds in intervals.items()
        ]

    def start(self) -> None:
        """Start running the jobs."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the running jobs end and start no more."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _repeat(self, name: str, seconds: float) -> None:
        while not self._stop.is_set():
            try:
                self._jobs.run(name)
            except NextplayError as error:
                _log.warning("job failed", job=name, code=error.code, error=str(error))
            except Exception:  # noqa: BLE001 - one failed run must not end all later ones
                _log.exception("job failed", job=name)
            self._stop.wait(seconds)
