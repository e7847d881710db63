"""The HTTP application: the routes of every room on one service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from audiences import api as audiences_api
from audiences import tags_api
from audiences.accounts import api as accounts_api
from audiences.identity import api as identity_api
from audiences.importing import api as import_api
from audiences.scores import api as scores_api
from audiences.selection import api as selection_api
from audiences.selection.lists import Lists
from audiences.stages import api as stages_api
from audiences.tracking import api as tracking_api
from audiences.triggers import api as triggers_api
from decision import api as decision_api
from decision import body_limit, budgets, erasure, health, problems, returning, shaping, staff
from decision.auth import api as keys_api
from decision.auth import guard
from decision.auth.opening import open_keys
from decision.coupons import add_coupon_routes
from decision.evaluating import api as evaluating_api
from decision.evaluating import policies_api
from decision.evaluating.fallbacks import fallbacks_now
from decision.foresight import api as foresight_api
from decision.foresight import content_api, simulate_api
from decision.observe import api as observe_api
from decision.observe import metrics, traces
from decision.optimising import api as changes_api
from decision.optimising.undoing import Undoing
from decision.rewarding import api as rewarding_api
from decision.shaping import Shapings
from decision.stopping import open_controls
from decision.wiring import Service
from delivery import api as delivery_api
from delivery import controls_api, recall_api
from delivery.inbox import api as inbox_api
from delivery.inbox.service import Inbox
from delivery.recalling import Recalls
from learning.pilots import RewardedDecisions
from learning.reward_service import RewardService
from playbooks import api as playbooks_api
from playbooks.library.pilots import Pilots


def create_app(service: Service) -> FastAPI:
    """Return the application of a service; the service's jobs run for as long as the application does."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield

    app = FastAPI(
        title="nextplay", version=version("nextplay"), lifespan=lifespan, telemetry=traces.of_requests()
    )
    problems.install(app)
    # First, because routes are looked through in their order at every request.
    decision_api.add_decide_route(app, service.decider, service.database.writer.at_once)
    health.add_routes(app, service)
    tracking_api.add_routes(
        app,
        service.intake,
        service.clock,
        guard.source_of,
        metrics.events,
        service.incoming.events.refusals.add,
    )
    service.incoming.add_routes(app)
    people, lookup = service.identity.people, service.identity.lookup
    app.include_router(
        audiences_api.router(service.database, service.clock, service.audiences.memberships, people, lookup)
    )
    app.include_router(tags_api.router(service.database, service.clock, people, lookup))
    app.include_router(
        selection_api.router(service.database, service.clock, service.audiences, service.counted)
    )
    app.include_router(
        identity_api.router(service.database, service.clock, service.identity, guard.source_of)
    )
    app.include_router(
        accounts_api.router(service.database, service.clock, service.identity, service.features.account)
    )
    app.include_router(scores_api.router(service.database, service.selecting.scores, lookup))
    import_api.add_import_route(app, service.imports)
    app.include_router(stages_api.router(service.database, service.clock, service.selecting.stages, lookup))
    app.include_router(triggers_api.router(service.database, service.selecting.triggers))
    app.include_router(delivery_api.router(service.delivery.hands, service.delivery.inside, guard.name_of))
    returning.add_routes(app, service)
    receipts = returning.receipts_of(service)
    app.include_router(inbox_api.router(Inbox(service.database, service.clock, people, receipts)))
    app.include_router(erasure.router(service.erasure))
    app.include_router(foresight_api.router(service))
    app.include_router(simulate_api.router(service))
    app.include_router(content_api.router(service, guard.name_of))
    app.include_router(evaluating_api.router(service.database, service.clock))
    app.include_router(
        policies_api.router(
            service.database,
            service.promoting,
            guard.name_of,
            service.follow,
            lambda: fallbacks_now(
                service.decider.snapshot, service.files.policy.placements, service.clock.now()
            ),
        )
    )
    app.include_router(
        playbooks_api.router(
            service.library,
            Pilots(service.library, RewardedDecisions(service.database)),
            lambda: service.decider.snapshot.library,
            guard.name_of,
            service.follow,
            lambda playbook: [
                one for one in foresight_api.live_findings(service) if one.playbook == playbook
            ],
        )
    )
    controls = open_controls(
        service.database, service.clock, people.canonical, channels=service.files.channels
    )
    wallet = service.delivery.wallet
    recalls = Recalls(service.database, service.clock, service.library, service.delivery.executor, wallet)
    app.include_router(recall_api.router(recalls, guard.name_of))
    add_coupon_routes(app, service)
    app.include_router(
        controls_api.router(service.database, service.clock, controls, guard.name_of, service.follow)
    )
    shapings = Shapings(
        service.database,
        service.clock,
        lambda: service.decider.snapshot.library,
        lambda: service.audiences.catalogs.read().specs,
    )
    undoing = Undoing(
        service.database,
        service.clock,
        library=service.library,
        controls=controls,
        promoting=service.promoting,
        audiences=service.audiences.catalogs,
        lists=Lists(service.database, service.audiences.catalogs, service.audiences.canonical),
        shapings=shapings,
    )
    app.include_router(changes_api.router(service.database, undoing, guard.name_of, service.follow))
    app.include_router(
        decision_api.router(
            service.database, service.clock, service.decisions, service.jobs, service.insiders
        )
    )
    app.include_router(
        rewarding_api.router(service.database, RewardService(service.database, people), service.decider)
    )
    app.include_router(shaping.router(shapings, guard.name_of, service.follow))
    app.include_router(budgets.router(service.database, service.decider, service.counters, service.clock))
    keys = open_keys(service.database, service.clock, service.settings.admin_key)
    app.include_router(keys_api.router(keys))
    staff.add_routes(app, service, keys)
    guard.install(app, keys)
    body_limit.install(app)
    observe_api.install(app, service)
    return app
