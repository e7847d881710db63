"""Rules over the features of a user's account, with real Feast: in full, of those who changed, and of one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from audiences.accounts import repository
from audiences.census import take_census
from audiences.rules import parse
from feature_repo.erasure import erase_history
from feature_repo.specs import load_specs
from feature_repo.store import FeatureRepository
from tests.integration.business import DAY, RULE, T1, Business

QUARTER = timedelta(minutes=15)


def test_all_users_of_an_account_are_selected_by_what_they_did_together(business: Business) -> None:
    business.compute(T1)
    assert business.audiences.evaluate(T1) == {"account_buys": 2}
    assert business.selected() == ["ann", "bob"]
    census = take_census(business.audiences, [parse(RULE, business.schema)], T1)
    assert census.holders(0) == {"ann", "bob"}
    population = business.audiences.population
    traced = [values for values, _ in population.values(["bob", "eve", "zoe"], set(), T1)]
    assert [one["account.orders_12w"] for one in traced] == [3, 1, None]
    assert [one["orders_12w"] for one in traced] == [1, 1, 3]


def test_nobody_has_an_account(business: Business) -> None:
    business.features.snapshot(T1)
    table = business.features.historical("audience_rules", ["ann", "zoe"], T1)
    # Through Feast's join of an empty table too.
    joined = business.features.historical("audience_rules", ["ann", "zoe"], T1, {"ann": "acme"})
    assert table.column_names == joined.column_names
    for name in (name for name in table.column_names if name.startswith("account_")):
        assert table[name].null_count == joined[name].null_count == 2
        assert table[name].type.equals(joined[name].type)
    # A lifecycle of accounts asks for them before there are any.
    none = business.features.historical_of_accounts("audience_rules", [], T1)
    assert none.num_rows == 0
    assert none.schema.field("account_orders_12w").type.equals(joined["account_orders_12w"].type)


def test_a_service_may_have_features_of_accounts_only(business: Business, tmp_path: Path) -> None:
    specs = replace(load_specs(), services={"companies": ("account_rfm",)})
    features = FeatureRepository(tmp_path / "features", specs)
    features.apply()
    business.compute(T1)
    alone = features.historical("companies", ["ann", "zoe"], T1)
    assert alone["account_orders_12w"].to_pylist() == [None, None]
    found = features.historical("companies", ["ann", "zoe"], T1, business.accounts.everyone())
    assert found["account_orders_12w"].to_pylist() == [3, None]
    assert features.online("companies", ["ann"], T1)[0].values == {}
    features.close()


def test_snapshots_from_before_there_were_accounts_serve_until_the_next_batch(business: Business) -> None:
    business.compute(T1)
    business.features.snapshots.path("account_rfm", T1).unlink()
    assert business.audiences.evaluate(T1) == {"account_buys": 0}
    business.compute(T1 + QUARTER)
    assert business.audiences.evaluate(T1 + QUARTER) == {"account_buys": 2}


def test_a_user_who_moves_takes_the_events_along(business: Business) -> None:
    business.compute(T1)
    business.audiences.evaluate(T1)
    # Bob's message of today makes bolt the primary account; eve and he have two orders there.
    business.group("bob", "bolt", T1 + DAY)
    business.order("eve", T1 + DAY)
    business.compute(T1 + 2 * DAY)
    assert business.audiences.evaluate_changed(T1 + 2 * DAY) is not None
    assert business.selected() == ["bob", "eve"]
    business.audiences.evaluate(T1 + 2 * DAY)
    assert business.selected() == ["bob", "eve"]


def test_colleagues_of_who_did_something_are_looked_at_again(business: Business) -> None:
    business.group("eve", "acme", T1 - DAY)
    business.group("zoe", "bolt", T1 - DAY)
    business.compute(T1)
    business.audiences.evaluate(T1)
    assert business.selected() == ["ann", "bob", "eve", "zoe"]
    # An operator says that bob is of core; no message does.
    chosen = T1 + DAY

    def choose(connection: object) -> None:
        repository.record(connection, [repository.Said("core", "bob", {}, T1)])  # type: ignore[arg-type]
        repository.choose(connection, "core", ["bob"], chosen)  # type: ignore[arg-type]

    business.database.write(choose)
    assert business.audiences.evaluate_changed(chosen + QUARTER) is not None
    # Nothing was computed for core yet.
    assert business.selected() == ["ann", "eve", "zoe"]
    business.order("bob", chosen)
    business.order("bob", chosen)
    business.compute(chosen + 2 * QUARTER)
    assert business.audiences.evaluate_changed(chosen + 2 * QUARTER) is not None
    assert business.selected() == ["ann", "bob", "eve", "zoe"]


def test_events_of_an_erased_user_are_out_at_the_next_batch(business: Business) -> None:
    business.compute(T1)
    assert erase_history(business.features, ["bob"]) == 1
    business.compute(T1 + QUARTER)
    business.audiences.evaluate(T1 + QUARTER)
    assert business.selected() == []
    values, as_of = business.features.account("acme", T1 + QUARTER)
    assert (values["orders_12w"], as_of) == (2, T1 + QUARTER)
