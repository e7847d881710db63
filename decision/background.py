"""The jobs of a service, each behind its fence, made of what the service has opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from audiences.feeds import FeatureFeed
from audiences.identity.people import People
from audiences.liveness.service import Liveness
from decision.evaluating.competing import open_promoting
from decision.files import LibraryFiles
from decision.jobs import Jobs
from decision.opening import open_library
from decision.recording import Recorder
from decision.recording_together import RecorderTogether
from decision.returning import ReceiptsJob
from decision.settings import Settings
from decision.stopping import open_controls
from decision.triggered import Triggered
from delivery.inbox.service import let_go_of_expired
from delivery.protecting import Protecting
from learning import version_repository
from learning.challengers.job import Watch
from learning.challengers.shadowing import Shadowing
from learning.pilots import RewardedDecisions
from learning.reward_service import RewardService
from learning.shards import InProcesses, OverRay, Sharing
from learning.still_needed import StillNeeded
from learning.training import Training
from playbooks.library.pilots import Pilots
from storage import projection
from storage.engine import Database
from storage.leases import Fence
from storage.retention import Retention, purge, retention_of

if TYPE_CHECKING:
    from decision.again import DeciderAgain
    from decision.wiring import Service


def jobs_of(
    service: Service, trainings: Sequence[Training], again: DeciderAgain, fences: Mapping[str, Fence]
) -> Jobs:
    """Return the jobs of a service that runs them itself; `fences` are by job."""
    watched = fences["shadow"].database
    files, settings = service.files, service.settings
    return Jobs(
        clock=service.clock,
        identity=service.identity,
        accounts=service.accounts,
        feed=FeatureFeed(fences["push"].database, service.features, service.identity.people),
        computed=FeatureFeed(fences["features"].database, service.features, service.identity.people),
        features=service.features,
        audiences=service.audiences,
        selecting=service.selecting,
        begin=_triggered(service, again, fences["triggers"].database).run,
        machines=service.incoming.events.machine_events_of(fences["machines"].database),
        quality=service.incoming.events.quality_of(fences["quality"].database),
        liveness=Liveness(fences["liveness"].database),
        protecting=Protecting(
            fences["protect"].database,
            service.identity.people,
            open_controls(
                fences["protect"].database,
                service.clock,
                service.identity.people.canonical,
                channels=files.channels,
            ),
            files.protection,
        ),
        delivery=service.delivery,
        receipts=ReceiptsJob(service, fences["receipts"].database),
        rewards=RewardService(fences["reward"].database, service.identity.people),
        pilots=Pilots(
            open_library(fences["pilots"].database, service.clock, files, service.audiences),
            RewardedDecisions(service.database),
        ),
        trainings=trainings,
        watch=Watch(
            watched,
            service.clock,
            Shadowing(watched, files.policies),
            open_promoting(watched, service.clock, files, service.identity.people),
        ),
        keep_ledger=partial(
            _keep_ledger,
            fences["ledger"].database,
            StillNeeded(service.database),
            retention_of(settings.retention),
        ),
        published=service.follow,
        fences=fences,
        keeper=service.keeper,
    )


def _triggered(service: Service, again: DeciderAgain, fenced: Database) -> Triggered:
    recorder = Recorder(service.delivery, version_repository.mark_used)
    return Triggered(
        fenced,
        service.clock,
        service.loader_of(service.files),
        again,
        again.together(service.database, service.clock, service.counters),
        recorder,
        RecorderTogether(recorder, service.delivery),
        service.identity.people,
    )


def trainings_of(
    files: LibraryFiles, database: Database, people: People, opened: ExitStack, settings: Settings
) -> list[Training]:
    """Return what trains each policy of a library, that of policy.yaml first; closed with `opened`."""
    trainings = [
        Training(database, spec, files.vocabularies, people, _sharing(settings))
        for spec in files.policies.values()
    ]
    for one in trainings:
        opened.callback(one.close)
    return trainings


def _sharing(settings: Settings) -> Sharing | None:
    if settings.learner_shards == 1:
        return None
    if settings.ray_address:
        return OverRay(settings.ray_address, settings.learner_shards)
    return InProcesses(settings.learner_shards)


def _keep_ledger(database: Database, needed: StillNeeded, retention: Retention, now: datetime) -> int:
    """Count new facts, take away those past their retention, and return how many went.

    Policy versions that no decision needs go too, and what expired in the inbox.
    """
    projection.catch_up(database)
    database.write(lambda connection: version_repository.let_go(connection, now), rows=2)
    let_go_of_expired(database, now)
    if not any(retention.values()):
        return 0
    return sum(one.purged for one in purge(database, retention, now, needed.since(now)))
