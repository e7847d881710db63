"""The tracking plan: accept, bring into shape, or say what does not fit and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audiences.errors import PlanError
from audiences.events import Event, MessageType
from audiences.plan.documents import read_plan, shipped
from audiences.plan.live import Live
from audiences.plan.plan import Plan, Verdict
from tests.conftest import START

SALE = """
event: Sale Made
type: object
required: [value]
properties:
  value: {type: number, minimum: 0}
  count: {type: integer}
  gift: {type: boolean}
  order: {type: string}
  at: {type: string, format: date-time}
  email: {type: string, format: email}
  phone: {type: string, format: phone}
  kind: {enum: [web, shop]}
  lines: {type: array, items: {$ref: '#/$defs/line'}}
  note: {type: [string, 'null']}
$defs:
  line: {type: object, properties: {value: {type: number}}}
"""


def _event(name: str, type_: MessageType = "track", **properties: Any) -> Event:
    return Event("m1", "ann", name, properties, START, START, type=type_)


def _plan(folder: Path, region: str | None = None, **files: str) -> Plan:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return read_plan(folder, region)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"value": "12.5"}, {"value": 12.5}),
        ({"value": " 1e3 "}, {"value": 1000.0}),
        ({"value": "12"}, {"value": 12}),
        ({"value": 1, "count": "3"}, {"value": 1, "count": 3}),
        ({"value": 1, "gift": "True"}, {"value": 1, "gift": True}),
        ({"value": 1, "order": 77}, {"value": 1, "order": "77"}),
        ({"value": 1, "at": "2026-03-02 10:00:00+01:00"}, {"value": 1, "at": "2026-03-02T09:00:00Z"}),
        ({"value": 1, "at": "2026-03-02"}, {"value": 1, "at": "2026-03-02T00:00:00Z"}),
        ({"value": 1, "email": " Ann@EXAMPLE.com"}, {"value": 1, "email": "ann@example.com"}),
        ({"value": 1, "phone": "0170 1234567"}, {"value": 1, "phone": "+491701234567"}),
        ({"value": 1, "lines": [{"value": "2"}, {}]}, {"value": 1, "lines": [{"value": 2}, {}]}),
        ({"value": 1, "order": None}, {"value": 1}),
        # What the schema does not ask to be otherwise stays as it is, down to the last blank.
        ({"value": 1, "note": None, "more": " x "}, {"value": 1, "note": None, "more": " x "}),
        # A form that can't be made keeps no event away: in a lenient schema it is a note.
        ({"value": 1, "phone": "call me", "at": "soon"}, {"value": 1, "phone": "call me", "at": "soon"}),
    ],
)
def test_values_are_brought_into_shape(tmp_path: Path, given: dict[str, Any], kept: dict[str, Any]) -> None:
    plan = _plan(tmp_path, "DE", sale=SALE)
    event = _event("Sale Made", **given)
    fitted, problem = plan.check(event)
    assert (problem, fitted.properties) == ("", kept)
    assert event.properties == given, "what was sent is not changed in place"
    # What was brought into shape fits: bringing it into shape again changes nothing.
    assert plan.judge(fitted)[0] is Verdict.ACCEPTED
    assert plan.judge(event)[0] is (Verdict.ACCEPTED if given == kept else Verdict.COERCED)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"value": "abc"}, "properties.value: 'abc' is not a number"),
        ({"value": "1,234"}, "properties.value: '1,234' is not a number"),
        ({"value": "1_0"}, "properties.value: '1_0' is not a number"),
        ({"value": "1e999"}, "properties.value: '1e999' is not a number"),
        ({"value": True}, "properties.value: true is not a number"),
        ({"value": -1}, "properties.value: -1 is less than the minimum of 0"),
        ({"value": 1, "count": "1.5"}, "properties.count: '1.5' is not a whole number"),
        ({"value": 1, "kind": "fair"}, "properties.kind: 'fair' is not one of 'web', 'shop'"),
        ({"value": 1, "lines": [{"value": {}}]}, "properties.lines[0].value: {} is not a number"),
        ({}, "properties.value is missing"),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(
    tmp_path: Path, given: dict[str, Any], problem: str
) -> None:
    event = _event("Sale Made", **given)
    assert _plan(tmp_path, sale=SALE).judge(event) == (Verdict.QUARANTINED, event, problem)


def test_a_long_value_and_many_problems_are_said_short(tmp_path: Path) -> None:
    event = _event("Sale Made", value="x" * 9_000, count="a", gift="b", order=[], kind="c")
    _, problem = _plan(tmp_path, sale=SALE).check(event)
    assert len(problem) < 400
    assert problem.endswith("and 2 more")


def test_a_strict_schema_takes_only_what_it_names_in_the_form_it_asks_for(tmp_path: Path) -> None:
    plan = _plan(tmp_path, sale="mode: strict\n" + SALE)
    assert plan.check(_event("Sale Made", value=1, colour="red"))[1] == (
        "properties.colour: the plan names no such property"
    )
    assert plan.check(_event("Sale Made", value=1, phone="0170 1234567"))[1] == (
        "properties.phone: '0170 1234567' is no phone"
    )
    assert plan.check(_event("Sale Made", value=1, phone="+49 170 1234567"))[1] == ""


def test_traits_are_named_as_such_and_addresses_have_one_form() -> None:
    plan = read_plan(None)
    address = {"street": " Main  Street 1", "postal_code": "sw1a 1aa", "country": "germany", "state": "by"}
    fitted, _ = plan.check(_event("identify", "identify", address=address))
    assert fitted.properties["address"] == {
        "street": "Main Street 1",
        "postal_code": "SW1A 1AA",
        "country": "DE",
        "state": "BY",
    }
    assert plan.check(_event("identify", "identify", address="here"))[1] == (
        "traits.address: 'here' is not an object"
    )


def test_unknown_events_are_taken_unless_the_plan_says_otherwise(tmp_path: Path) -> None:
    assert read_plan(tmp_path).check(_event("order_complete"))[1] == ""
    plan = _plan(tmp_path, plan="unknown: quarantine", sale=SALE)
    assert plan.check(_event("order_complete"))[1] == "no event 'order_complete' is in the tracking plan"
    assert plan.check(_event("order_completed"))[1] == ""
    # The messages of the tracking spec have names of their own.
    assert plan.check(_event("group", "group"))[1] == ""


def test_a_schema_of_ones_own_takes_the_place_of_a_shipped_one(tmp_path: Path) -> None:
    plan = _plan(tmp_path, order_completed="{type: object, required: [order_id]}")
    assert plan.check(_event("order_completed"))[1] == "properties.order_id is missing"
    alone = _plan(tmp_path, plan="touchpoints: false")
    assert list(alone.planned) == ["order_completed"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("sale.yaml", "type: object\nproperties:\n  value: {type: nmber}\n", "sale.yaml, line 3: "),
        ("sale.yaml", "type: object\nproperties:\n  value: 3\n", "sale.yaml, line 3: properties.value"),
        ("sale.yaml", "type: object\nmode: hard\n", "line 2: mode: 'hard' is not strict or lenient"),
        ("sale.yaml", "type: object\nevent: 3\n", "line 2: event: this must be the event's name"),
        ("sale.yaml", "type: [\n", "sale.yaml: not YAML: line 2: "),
        ("sale.yaml", "- a\n", "sale.yaml: a schema is an object"),
        ("sale.yaml", "", "sale.yaml: a schema is an object"),
        ("sale.yaml", "enum: [2026-01-01]\n", "sale.yaml"),
        ("sale.yaml", "type: object\n$ref: 'http://example.com/x.json'\n", "sale.yaml"),
        ("sale.yaml", "type: object\nproperties: {a: {pattern: '('}}\n", "line 2: properties.a.pattern"),
        ("sale.yaml", "event: order\ntype: object\n", "is for 'order' too"),
        ("sale.json", '{"type": "object",\n}', "sale.json, line 2: not JSON"),
        ("plan.yaml", "mode: lenient\nunkown: accept\n", "plan.yaml, line 2: unkown"),
        (
            "plan.yaml",
            "unknown: drop\n",
            "plan.yaml, line 1: unknown: Input should be 'accept' or 'quarantine'",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_place_and_the_live_plan_stays(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    (tmp_path / "order.yaml").write_text("{type: object, required: [value]}")
    live = Live(tmp_path, read_plan)
    before = live.value
    (tmp_path / name).write_text(text)
    with pytest.raises(PlanError) as refused:
        live.reload()
    assert said in str(refused.value)
    assert live.value is before
    assert live.refused == str(refused.value)


def test_files_that_change_are_followed(tmp_path: Path) -> None:
    live = Live(tmp_path, read_plan)
    (tmp_path / "order.yaml").write_text("{type: object, required: [value]}")
    live.follow()
    assert live.value.check(_event("order"))[1] == "properties.value is missing"
    (tmp_path / "order.yaml").write_text("{type: nothing}")
    live.follow()
    assert live.value.check(_event("order"))[1] == "properties.value is missing"
    assert "order.yaml" in live.refused
    (tmp_path / "order.yaml").unlink()
    live.follow()
    assert (live.value.check(_event("order"))[1], live.refused) == ("", "")


def test_shipped_schemas_are_lenient_and_demand_nothing() -> None:
    for planned in shipped():
        assert planned.mode == "lenient"
        assert planned.validator.is_valid({})
        assert planned.validator.is_valid({"whatever": [1, {"a": None}]})
