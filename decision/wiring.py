"""Puts the rooms together: one service, from its settings to something that answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from audiences.definitions import read_definitions
from audiences.features import FeastFeatureReader
from audiences.feeds import FeatureFeed
from audiences.service import Audiences, rule_schema, set_tag
from decision.decider import Decider
from decision.gate import CapGate
from decision.jobs import Jobs, Scheduler
from decision.settings import Settings
from delivery.channels.registry import ChannelSettings, open_channels
from delivery.plans import PublishedPlans
from delivery.service import Delivery
from feature_repo.specs import Specs, load_specs
from feature_repo.store import FeatureRepository
from learning import repository as learning_repository
from learning.reward_service import RewardService
from learning.spec import read_spec
from learning.training import Training
from learning.versions import PolicyVersion
from playbooks.library import Draft, read_library
from playbooks.matching import Snapshot
from playbooks.repository import publish
from storage.clock import Clock, SimulatedClock, SystemClock
from storage.engine import Database
from storage.errors import ConfigurationError


class Service:
    """Everything that runs in one process. Close it to finish what is under way."""

    def __init__(self, settings: Settings) -> None:
        """Open the database, publish the library, load the policy in charge.

        Raises:
            NextplayError: something is missing, wrong or in use; nothing was half-done.
        """
        self.settings = settings
        self.clock: Clock = SimulatedClock(settings.clock) if settings.clock else SystemClock()
        specs = load_specs()
        folder = _library_folder(settings)
        # All files are read before anything is opened or written.
        draft = read_library(folder)
        definitions = read_definitions(folder / "audiences.yaml", rule_schema(specs))
        policy_spec = read_spec(folder / "policy.yaml")
        with ExitStack() as opened:
            self.database = Database(settings.url)
            opened.callback(self.database.close)
            self.features = FeatureRepository(settings.data / "features", specs)
            self.features.apply()
            training = Training(self.database, policy_spec, arm_vocabularies(specs))
            opened.callback(training.close)
            self.audiences = Audiences(self.database, self.features, definitions)
            delivery = Delivery(
                self.database,
                self.clock,
                PublishedPlans(),
                open_channels(ChannelSettings(settings.data)),
                set_tag,
                gate=CapGate(),
            )
            delivery.recover()
            self.decider = Decider(
                self.database,
                self.clock,
                FeastFeatureReader(self.features, "decide", self.clock),
                self.audiences.memberships,
                delivery,
                self._snapshot(draft, training),
            )
            self.jobs = Jobs(
                clock=self.clock,
                decider=self.decider,
                feed=FeatureFeed(self.database, self.features),
                features=self.features,
                audiences=self.audiences,
                delivery=delivery,
                rewards=RewardService(self.database),
                training=training,
                load_policy=self._policy_version,
            )
            self._scheduler = Scheduler(self.jobs)
            self._opened = opened.pop_all()

    def start(self) -> None:
        """Start the jobs, unless the settings leave them to be asked for."""
        if self.settings.schedule:
            self._scheduler.start()

    def close(self) -> None:
        """Finish running jobs and queued writes, then let go of everything."""
        self._scheduler.stop()
        self._opened.close()

    def _snapshot(self, draft: Draft, training: Training) -> Snapshot:
        now = self.clock.now()
        library = self.database.write(
            lambda connection: publish(connection, draft, now), rows=2 * len(draft.playbooks)
        )
        return Snapshot(library, training.in_charge(now).serve(), self.settings.seed)

    def _policy_version(self, version: str) -> PolicyVersion:
        with self.database.read() as connection:
            return learning_repository.version(connection, version)


def arm_vocabularies(specs: Specs) -> Mapping[str, Sequence[str]]:
    """Return the vocabularies of arm attributes: `arm_category` holds the names of `arm.category`."""
    prefix = "arm_"
    return {
        name.removeprefix(prefix): words
        for name, words in specs.vocabularies.items()
        if name.startswith(prefix)
    }


def _library_folder(settings: Settings) -> Path:
    folder = settings.library_folder
    if not folder.is_dir():
        raise ConfigurationError(
            f"there is no library folder {folder}: name one with --library, or run `nextplay demo` to get one"
        )
    return folder
