"""The examples of docs/reference/policy.md are read as they stand."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from learning.exploration_kinds import ExplorationKind
from learning.learner_kinds import Gaussian, Logistic, Portfolio, Vw
from learning.spec import PolicySpec
from learning.versions import cold_start

VOCABULARIES = {"category": ["TEA", "MILK"], "value": ["300", "500", "800"]}
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "policy.md"
SOFTMAX = "{kind: softmax, temperature: 1, floor: {start: 0, floor: 0, half_life: 1}}"
WHOLE: dict[str, Any] = {
    "id": "next_category",
    "placements": ["outbound"],
    "features": [{"scalar": "orders_4w"}],
    "learner": {"kind": "linear_gaussian"},
    "exploration": {"kind": "single", "variant": "a/b"},
}


def test_every_kind_is_described_and_its_example_is_read() -> None:
    text = PAGE.read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.S)]
    specs = [
        PolicySpec.model_validate(block if "id" in block else WHOLE | block) for block in _scored(blocks)
    ]
    told = {(spec.learner and spec.learner.kind, spec.exploration.kind) for spec in specs}
    kinds = {kind.model_fields["kind"].annotation.__args__[0] for kind in _members(ExplorationKind)}
    assert {exploration for _, exploration in told} == kinds
    assert {learner for learner, _ in told} - {None} == {
        kind.model_fields["kind"].annotation.__args__[0]  # type: ignore[union-attr]
        for kind in (Vw, Gaussian, Logistic, Portfolio)
    }


def test_every_feature_of_the_page_makes_columns() -> None:
    text = PAGE.read_text(encoding="utf-8")
    features = [yaml.safe_load(one) for one in re.findall(r"^\| `(\{.*?\})` \|", text, re.M)]
    assert len(features) == 9
    features[1]["transform"] = ["raw", "log1p"]
    spec = PolicySpec.model_validate(
        WHOLE
        | {"features": features, "learner": {"kind": "vw"}}
        | {
            "exploration": {
                "kind": "softmax",
                "temperature": 1,
                "floor": {"start": 0, "floor": 0, "half_life": 1},
            }
        }
    )
    now = datetime(2026, 3, 2, tzinfo=UTC)
    version = cold_start(spec, VOCABULARIES, now, after=None)
    values = ["value>=500", "value>=800"]
    assert version.serve().columns == (
        "lately",
        "orders_4w",
        "orders_4w.log1p",
        "value",
        "took",
        "category=TEA",
        "category=MILK",
        *values,
        "lately*orders_4w.log1p",
        *(f"took*{value}" for value in values),
        *(f"lately*{value}" for value in values),
        "net",
    )


def _scored(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the examples, those of learners with an exploration that scores."""
    scoring = next(block for block in blocks if "exploration" in block)
    return [
        block | scoring
        if block.keys() & {"learner", "guards", "costs", "context", "open_windows", "fallbacks"}
        else block
        for block in blocks
    ]


def _members(union: Any) -> list[Any]:
    return list(union.__origin__.__args__)
