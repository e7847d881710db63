"""Lifecycles: shapes that are refused, and how users move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiences.errors import StageError
from audiences.rules import Schema, Type
from audiences.service import rule_schema
from audiences.stages.definitions import SHIPPED, Lifecycle, read_lifecycles
from audiences.stages.moves import moves
from feature_repo.specs import load_specs

TEXT = """
lifecycles:
  - id: customer
    name: Customer
    start: new
    stages:
      - id: new
        to: [{stage: buyer, when: orders > 0}]
      - id: buyer
        to: [{stage: gone, when: days > 180}, {stage: regular, when: orders > 1}]
      - id: regular
        to: [{stage: gone, when: days > 180}]
      - {id: gone, end: true}
"""
SCHEMA = Schema({"orders": Type.NUMBER, "days": Type.NUMBER})


def read(folder: Path, text: str = TEXT) -> Lifecycle:
    (folder / "stages.yaml").write_text(text)
    (lifecycle,) = read_lifecycles(folder / "stages.yaml", SCHEMA)
    return lifecycle


def test_users_go_as_far_as_the_rules_say(tmp_path: Path) -> None:
    lifecycle = read(tmp_path)
    assert [str(rule) for rule in lifecycle.rules] == ["orders > 0", "days > 180", "orders > 1"]
    bought = np.array([False, True, True, True])
    late = np.array([False, False, False, True])
    twice = np.array([False, False, True, True])
    found = moves(lifecycle, ["new", "new", "new", "regular"], [bought, late, twice])
    assert [(move.row, move.before, move.after) for move in found] == [
        (1, "new", "buyer"),
        (2, "new", "buyer"),
        (3, "regular", "gone"),
        (2, "buyer", "regular"),
    ]


def test_who_stands_in_a_stage_that_is_gone_begins_anew(tmp_path: Path) -> None:
    yes, no = np.array([True]), np.array([False])
    found = moves(read(tmp_path), ["prospect"], [yes, no, no])
    assert [(move.before, move.after) for move in found] == [("new", "buyer")]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.booleans(), min_size=3, max_size=3)), max_size=20)
)
def test_an_evaluation_ends_also_where_rules_go_round(people: list[tuple[str, list[bool]]]) -> None:
    lifecycle = _ROUND[0]
    holds = [np.array([truths[place] for _, truths in people], bool) for place in range(3)]
    found = moves(lifecycle, [stage for stage, _ in people], holds)
    for row in range(len(people)):
        path = [people[row][0], *(move.after for move in found if move.row == row)]
        assert len(set(path)) == len(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("{id: gone, end: true}", "{id: gone}"), "customer.gone: has no way out"),
        (("start: new", "start: fresh"), "`start` names 'fresh'; there are new, buyer"),
        (("{stage: buyer, when: orders > 0}", "{stage: byer, when: orders > 0}"), "goes to 'byer'"),
        (("{stage: buyer, when: orders > 0}", "{stage: new, when: orders > 0}"), "goes to itself"),
        (("when: orders > 0", "when: order > 0"), 'did you mean "orders"?'),
        (("when: orders > 0", "when: orders > 'many'"), "customer.new → buyer"),
        ((", {stage: regular, when: orders > 1}", ""), "no way leads there from 'new'"),
        (("end: true", "end: true, to: [{stage: new, when: days > 1}]"), "is an end"),
        (("id: regular", "id: buyer"), "customer.buyer: there twice"),
        (("name: Customer", "nam: Customer"), "Field required"),
    ],
)
def test_a_wrong_lifecycle_is_told_where_and_why(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    with pytest.raises(StageError) as refused:
        read(tmp_path, TEXT.replace(*change, 1))
    assert said in str(refused.value)


ACCOUNTS = """
lifecycles:
  - id: company
    of: account
    name: Companies
    start: prospect
    stages:
      - {id: prospect, to: [{stage: customer, when: account.orders > 0}]}
      - {id: customer, end: true}
"""


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("orders > 0", '"orders" tells of a user; ask for what is known of the account: account.orders'),
        ("account.orders > 0 AND tag('vip')", "tag('vip') tells of a user"),
        ("account.orders > 0 AND in_audience('buyers')", "in_audience('buyers') tells of a user"),
        ("account.order > 0", 'did you mean "account.orders"?'),
    ],
)
def test_a_lifecycle_of_accounts_asks_for_accounts_only(tmp_path: Path, rule: str, said: str) -> None:
    schema = Schema({"orders": Type.NUMBER, "account.orders": Type.NUMBER})
    (tmp_path / "stages.yaml").write_text(ACCOUNTS)
    assert [one.of_accounts for one in read_lifecycles(tmp_path / "stages.yaml", schema)] == [True]
    (tmp_path / "stages.yaml").write_text(ACCOUNTS.replace("account.orders > 0", rule))
    with pytest.raises(StageError) as refused:
        read_lifecycles(tmp_path / "stages.yaml", schema)
    assert said in str(refused.value)
    assert "company.prospect → customer" in str(refused.value)


def test_the_shipped_lifecycle_is_used_where_its_features_exist(tmp_path: Path) -> None:
    (shipped,) = read_lifecycles(tmp_path / "stages.yaml", rule_schema(load_specs()))
    assert shipped.stages == [
        "awareness",
        "consideration",
        "decision",
        "customer",
        "repeat",
        "lapsing",
        "lost",
    ]
    assert read_lifecycles(SHIPPED, rule_schema(load_specs())) == (shipped,)
    assert read_lifecycles(tmp_path / "stages.yaml", SCHEMA) == ()


def _round() -> list[Lifecycle]:
    import tempfile

    text = """
lifecycles:
  - id: round
    name: Round
    start: a
    stages:
      - {id: a, to: [{stage: b, when: orders > 0}]}
      - {id: b, to: [{stage: c, when: orders > 1}]}
      - {id: c, to: [{stage: a, when: orders > 2}]}
"""
    with tempfile.TemporaryDirectory() as folder:
        return [read(Path(folder), text)]


_ROUND = _round()
