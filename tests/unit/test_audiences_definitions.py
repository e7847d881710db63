"""Audiences as they are written: rules, sets and lists, in the order of what they are made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyroaring import BitMap

from audiences.definitions import AudienceSpec, define, read_definitions
from audiences.errors import AudienceError
from audiences.rules import RuleError, Schema, Type, parse
from audiences.selection.sets import SetSpec
from audiences.selection.standing import schema_with

SCHEMA = Schema({"orders_90d": Type.NUMBER, "city": Type.TEXT, "account.tier": Type.TEXT})


def read(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "audiences.yaml").write_text(text)
    return [one.id for one in read_definitions(tmp_path / "audiences.yaml", SCHEMA).order]


def problems(tmp_path: Path, text: str) -> str:
    with pytest.raises(AudienceError) as raised:
        read(tmp_path, text)
    return str(raised.value)


def test_each_comes_after_those_it_is_made_of(tmp_path: Path) -> None:
    order = read(
        tmp_path,
        """
audiences:
  - {id: target, name: T, sets: {intersect: [loyal, {union: [picked, rich]}], except: [gone]}}
  - {id: loyal, name: L, rule: in_audience('rich') AND orders_90d > 3}
  - {id: picked, name: P, list: true}
  - {id: rich, name: R, rule: account.tier = 'gold'}
  - {id: gone, name: G, rule: orders_90d = 0}
""",
    )
    assert set(order) == {"target", "loyal", "picked", "rich", "gone"}
    assert order.index("rich") < order.index("loyal") < order.index("target")


def test_a_circle_is_named(tmp_path: Path) -> None:
    said = problems(
        tmp_path,
        """
audiences:
  - {id: a, name: A, rule: in_audience('b')}
  - {id: b, name: B, sets: {union: [c]}}
  - {id: c, name: C, rule: NOT in_audience('a') OR orders_90d > 1}
  - {id: d, name: D, rule: orders_90d > 1}
""",
    )
    circle = said.split("made of itself: ")[1].split(";")[0].split(" → ")
    assert circle[0] == circle[-1]
    assert set(circle) == {"a", "b", "c"}
    assert "d:" not in said
    assert "made of itself: x → x" in problems(
        tmp_path, "audiences: [{id: x, name: X, rule: in_audience('x')}]"
    )


@pytest.mark.parametrize(
    ("audience", "said"),
    [
        ("rule: order_90d > 1", 'line 1, column 1: unknown feature "order_90d", did you mean "orders_90d"?'),
        ("rule: orders_90d > 'many'", "orders_90d is a number, but 'many' is text"),
        ("rule: orders_90d IN (SELECT 1)", "SELECT is not part of the rule language"),
        ("rule: in_audience('loyl')", 'unknown audience "loyl", did you mean "loyal"?'),
        ("sets: {union: [loyl]}", "there is no audience 'loyl', did you mean \"loyal\"?"),
        ("sets: {union: [loyal], intersect: [loyal]}", "either `union` or `intersect`"),
        ("sets: {except: [loyal]}", "either `union` or `intersect`"),
        ("rule: orders_90d > 1, list: true", "just one of them; it has rule and list"),
        ("{}", "none of them"),
        ("list: false", "list"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, audience: str, said: str) -> None:
    written = "" if audience == "{}" else f"    {audience.replace(', list', chr(10) + '    list')}\n"
    text = f"audiences:\n  - {{id: loyal, name: L, list: true}}\n  - id: x\n    name: X\n{written}"
    assert said in problems(tmp_path, text)


def test_ten_thousand_levels_are_an_error_and_no_more(tmp_path: Path) -> None:
    deep = "(" * 10_000 + "orders_90d > 1" + ")" * 10_000
    assert "more than" in problems(tmp_path, f"audiences: [{{id: x, name: X, rule: '{deep}'}}]")
    nested = "{union: [" * 10_000 + "x" + "]}" * 10_000
    problems(tmp_path, f"audiences: [{{id: x, name: X, sets: {nested}}}]")
    for depth in (17, 100):
        body: object = "x"
        for _ in range(depth):
            body = {"union": [body]}
        with pytest.raises(ValueError, match="deep"):
            SetSpec.model_validate(body)


def test_the_rest_is_sound_where_one_is_wrong() -> None:
    specs = [
        AudienceSpec(id="a", name="A", rule="orders_90d > 1"),
        AudienceSpec(id="b", name="B", rule="unheard_of > 1"),
        AudienceSpec(id="c", name="C", sets=SetSpec(union=["b", "a"])),
    ]
    found, said = define(specs, (), SCHEMA)
    assert [one.id for one in found.audiences] == ["a"]
    assert said.keys() == {"b", "c"}
    assert "made of 'b', which is wrong" in said["c"]


def test_sets_of_sets() -> None:
    members = {"a": BitMap([1, 2, 3]), "b": BitMap([3, 4]), "c": BitMap([2])}
    spec = SetSpec.model_validate(
        {"union": ["b", {"intersect": ["a", {"union": ["b", "c"]}]}], "except": ["c"]}
    )
    assert spec.names() == {"a", "b", "c"}
    assert set(spec.members(members.__getitem__)) == {3, 4}


def test_stages_and_grades_are_text_with_known_values() -> None:
    schema = schema_with(SCHEMA, {"grade.lead": ["MQL", "SQL"], "stage": ["aware", "customer"]})
    assert parse("grade.lead = 'MQL' AND stage <> 'customer'", schema).matches(
        {"grade.lead": "MQL", "stage": "aware"}
    )
    with pytest.raises(RuleError, match=r"stage is never 'custumer', did you mean \"customer\"\?"):
        parse("stage = 'custumer'", schema)
    with pytest.raises(RuleError, match=r"column 22: grade.lead is never 'XYZ', it is one of MQL, SQL"):
        parse("grade.lead IN ('SQL','XYZ')", schema)
    with pytest.raises(RuleError, match="unknown feature"):
        parse("grade.leed = 'MQL'", schema)
    # Unknown until a user is placed: neither true nor false.
    assert not parse("stage = 'aware' OR NOT stage = 'aware'", schema).matches({})
