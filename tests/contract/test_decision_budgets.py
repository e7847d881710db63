"""Budgets for all time tell what a little more of them would earn, by those who took from them last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from audiences.identity.people import EveryoneAlone
from decision.budgets import Budgets
from decision.decider import Decider
from decision.surroundings import Surroundings
from playbooks.constraints.documents import Liability, MoneyBudget
from playbooks.content.documents import Content
from playbooks.counters import Counters, SqlCounters, ValkeyCounters
from playbooks.library import Draft
from playbooks.matching import Snapshot
from playbooks.offers import Offer
from storage.clock import SimulatedClock
from storage.engine import Database
from tests.deciding import Even, Everywhere, Known, Started, playbook
from tests.publishing import publish

RATE = 0.0005


@pytest.fixture(params=["sql", "valkey"])
def counters(request: pytest.FixtureRequest, database: Database) -> Iterator[Counters]:
    if request.param == "sql":
        with closing(SqlCounters(database)) as made:
            yield made
    else:
        with closing(ValkeyCounters(database, request.getfixturevalue("valkey_url"))) as made:
            yield made


def test_what_more_of_a_budget_without_a_pace_would_earn(
    database: Database, counters: Counters, clock: SimulatedClock
) -> None:
    money = {"kind": "budget", "id": "spring", "amount": "10.00 EUR", "period": "all"}
    owed = {"kind": "liability", "id": "open", "amount": "20.00 EUR"}
    rules = (MoneyBudget.model_validate(money), Liability.model_validate(owed))
    milk = {"id": "milk", "name": "milk", "kind": "fixed_amount", "value": "5.00 EUR"}
    draft = Draft(
        (playbook("plan"),),
        {"milk": Offer.model_validate({**milk, "attributes": {"group": "g"}})},
        {"notice": Content(id="notice", subject="s", body="b")},
        constraints=rules,
    )
    library = database.write(lambda connection: publish(connection, draft, clock.now()))
    decider = Decider(
        database,
        clock,
        Known(),
        Everywhere(),
        Started(),
        counters,
        Snapshot(library, Even(), "seed", costs={"EUR": RATE}),
        surroundings=Surroundings(database, counters, EveryoneAlone()),
    )
    budgets = Budgets(database, decider, counters, clock)
    before = {one.rule: one for one in budgets.now()}
    assert {rule: (one.taken, one.one_percent_more) for rule, one in before.items()} == {
        "budget.spring": (0, 0.0),
        "liability.open": (0, 0.0),
    }
    assert [decider.decide(user, "home").playbook for user in ("ann", "bob", "cy")] == ["plan", "plan", None]
    spring, open_ = budgets.now()[0], budgets.now()[1]
    assert (spring.rule, spring.period, spring.taken, spring.elapsed) == ("budget.spring", "all", 1000, None)
    # Each of them is worth 1 and costs 5.00; nothing would be worth nothing.
    earned = (1 - RATE * 500) / 500
    assert spring.shadow_price == pytest.approx(earned / RATE)
    assert spring.one_percent_more == pytest.approx(10 * earned)
    # What is owed comes back: while there is room, more of it earns nothing.
    assert (open_.taken, open_.shadow_price, open_.one_percent_more) == (1000, 0.0, 0.0)
