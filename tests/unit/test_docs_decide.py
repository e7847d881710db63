"""docs/reference/decide.md tells every field of an answer, every fallback and every error of the log."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from decision import answers
from decision.answers import DecideAnswer, DecideRequest
from learning.errors import NothingToRescore, VersionGone
from learning.explaining import Candidate, Explanation
from learning.rescoring import Rescored
from playbooks.errors import DecisionDamaged, DecisionErased, DecisionPurged, UnknownDecision
from playbooks.models import DO_NOTHING

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "decide.md").read_text(encoding="utf-8")
TOLD = set(re.findall(r"`([a-z_-]+)`", "".join(re.findall(r"^\|.*?\|.*?\|", PAGE, re.M))))


def test_every_field_is_told() -> None:
    for kind in (DecideRequest, DecideAnswer, Rescored, Explanation, Candidate):
        fields = {field.name for field in msgspec.structs.fields(kind)}
        assert fields <= TOLD | {"policy"}, fields - TOLD


def test_every_fallback_is_told() -> None:
    reasons = {value for name, value in vars(answers).items() if name.isupper() and isinstance(value, str)}
    assert reasons - {DO_NOTHING} <= TOLD
    assert "policy_broken" in reasons


def test_every_error_is_told() -> None:
    told = (UnknownDecision, DecisionErased, DecisionPurged, DecisionDamaged, VersionGone, NothingToRescore)
    for error in told:
        assert f"| {error.status} | `{error.code}` |" in PAGE


def test_the_example_is_a_request() -> None:
    for block in re.findall(r"```json\n(.*?)```", PAGE, re.S):
        msgspec.json.decode(block, type=DecideRequest)
