"""However short facts are kept, rewards are what they would be otherwise, or stay what they are."""

from __future__ import annotations

from datetime import datetime, timedelta

from learning.reward_service import Judged, RewardService
from learning.still_needed import StillNeeded
from storage import ledger
from storage.engine import Database
from storage.ledger import Kind
from storage.retention import Purged, purge
from tests.integration.test_learning_loop import START, WINDOW, Fixed, World, playbook, spec, training

DAY = timedelta(days=1)
DAILY = dict.fromkeys((Kind.EVENT, Kind.CONSENT, Kind.DECISION), 1)
# Whose events keep the feed from seeming silent.
LAST = "u119"


def thin_out(world: World, now: datetime) -> dict[Kind, Purged]:
    needed = StillNeeded(world.database).since(now)
    return {one.kind: one for one in purge(world.database, DAILY, now, needed)}


def facts_of(world: World, kind: Kind) -> int:
    with world.database.read() as connection:
        return len(ledger.read_after(connection, 0, kind=kind))


def live(world: World, service: RewardService, days: int) -> None:
    """Let days pass, on each of which somebody buys, rewards are given and what is old is taken away."""
    for day in range(1, days + 1):
        now = START + day * DAY
        world.buy(LAST, now, "TEA")
        service.mature(now)
        thin_out(world, now)


def test_what_happens_in_a_window_is_there_when_it_closes(database: Database) -> None:
    world, service = World(database), RewardService(database)
    (bought,) = world.decide(Fixed("BACON"), START, users=["u000"])
    event = world.buy("u000", START + DAY, "BACON")
    live(world, service, 10)
    assert not world.rewards()
    held = thin_out(world, START + 10 * DAY)
    assert held[Kind.DECISION] == Purged(Kind.DECISION, 0, 1, "rewards")
    assert held[Kind.EVENT].held_by == "rewards"
    live(world, service, 14)
    assert (world.rewards()[bought].value, world.rewards()[bought].outcome) == (1.0, event)


def test_what_no_reward_needs_goes(database: Database) -> None:
    world, service = World(database), RewardService(database)
    world.decide(Fixed("BACON"), START, users=["u000"])
    live(world, service, 20)
    assert facts_of(world, Kind.DECISION) == 0
    # As long as the window is, and a day.
    assert facts_of(world, Kind.EVENT) == 16


def test_a_policy_learns_of_decisions_that_are_kept_for_a_day(database: Database) -> None:
    world, service = World(database), RewardService(database)
    ridge = spec(learner={"kind": "linear_gaussian"}, features=[{"one_hot": "arm.category"}])
    with training(world.database, ridge) as one:
        world.decide(Fixed("BACON"), START)
        world.live_a_fortnight(START)
        live(world, service, 14)
        assert one.learn(START + 14 * DAY).trained == 120


def test_a_reward_is_not_judged_anew_by_half_of_what_earned_it(database: Database) -> None:
    """Late outcomes and other goals leave a decision alone whose outcomes were taken away."""
    total = {"value": {"property": "value", "most": 10}, "aggregation": "sum", "most": 50.0}
    world = World(database, playbook("everyone", **total))
    service = RewardService(database)
    (old,) = world.decide(Fixed("BACON"), START, users=["u000"])
    world.buy("u000", START + DAY, "BACON", value=7.0)
    live(world, service, 20)
    world.decide(Fixed("BACON"), START + 20 * DAY, users=["u001"])
    world.buy("u000", START + 2 * DAY, "BACON", value=3.0, told=START + 20 * DAY)
    assert service.mature(START + 20 * DAY) == Judged()
    world.publish(playbook("everyone", value=3.0))
    assert service.recompute("everyone", 2) == 2
    assert service.mature(START + 21 * DAY) == Judged()
    assert (world.rewards()[old].value, world.rewards()[old].version) == (7.0, 1)


def test_what_speaks_against_a_decision_for_longer_is_waited_for(database: Database) -> None:
    against = [{"opt_out": True, "value": -5.0, "window": timedelta(days=30)}]
    world = World(database, playbook("everyone", negatives=against))
    service = RewardService(database)
    (left,) = world.decide(Fixed("BACON"), START, users=["u000"])
    world.buy("u000", START + DAY, "BACON")
    live(world, service, 20)
    assert world.rewards()[left].value == 1.0
    world.leave("u000", START + 20 * DAY)
    assert service.mature(START + 21 * DAY) == Judged(corrected=1)
    assert world.rewards()[left].value == -4.0


def test_what_a_retired_plan_needed_is_kept_no_longer_than_that(database: Database) -> None:
    world = World(database, playbook("everyone", window=timedelta(days=60)))
    assert StillNeeded(database).since(START)[Kind.EVENT].since == START - 61 * DAY
    world.publish(playbook("everyone", window=WINDOW))
    needed = StillNeeded(database)
    assert needed.since(START + 60 * DAY)[Kind.EVENT].since == START - DAY
    assert needed.since(START + 61 * DAY)[Kind.EVENT].since == START + 46 * DAY
