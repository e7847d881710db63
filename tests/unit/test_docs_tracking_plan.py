"""docs on the tracking plan, data quality and touchpoints say what is so."""

from __future__ import annotations

import re
from pathlib import Path

from audiences.machines.definitions import read_machines
from audiences.plan.documents import read_plan, shipped
from audiences.quality.repository import FIGURES

DOCS = Path(__file__).parents[2] / "docs"


def test_the_examples_are_a_plan(tmp_path: Path) -> None:
    page = (DOCS / "how-to" / "tracking-plan.md").read_text(encoding="utf-8")
    schema, settings = re.findall(r"```yaml\n(.*?)```", page, re.S)
    (tmp_path / "subscription_renewed.yaml").write_text(schema)
    (tmp_path / "plan.yaml").write_text(settings)
    plan = read_plan(tmp_path)
    assert plan.refuses_unknown
    assert plan.planned["subscription_renewed"].mode == "strict"


def test_the_example_names_machines(tmp_path: Path) -> None:
    page = (DOCS / "how-to" / "data-quality.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.S)
    (tmp_path / "machines.yaml").write_text(block)
    spec = read_machines(tmp_path)
    assert (spec.agents, spec.click_window.total_seconds()) == (["AcmeGateway"], 20)
    assert {name for name in FIGURES if f"`{name}`" in page} == set(FIGURES)


def test_every_touchpoint_is_described_with_every_property() -> None:
    page = (DOCS / "reference" / "touchpoints.md").read_text(encoding="utf-8")
    rows = {row[0]: row[1] for row in re.findall(r"^\| `(\w+)` \|(.*)\|$", page, re.M)}
    assert set(rows) == {planned.event for planned in shipped()}
    for planned in shipped():
        named = re.findall(r"`(\w+)` \(", rows[planned.event])
        assert set(planned.schema["properties"]) <= set(named)
