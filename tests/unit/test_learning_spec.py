"""Policy specifications, and the versions and policies made of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from learning.errors import BrokenWeights, PolicySpecError
from learning.models import Linear
from learning.spec import Decay, PolicySpec, read_spec
from learning.versions import PolicyVersion, child, cold_start
from playbooks.models import DO_NOTHING, Arm
from playbooks.policy import Stakes

NOW = datetime(2026, 3, 2, tzinfo=UTC)
VOCABULARIES = {"category": ["MILK", "BACON", "APPLES"]}
ARMS = [Arm(f"p/{c}", "p", c, "mailbox", "notice", {"category": c}) for c in VOCABULARIES["category"]]

TEXT = """
id: next_category
placements: [outbound]
features:
  - {name: rate, from: category_rate, at: arm.category, transform: [raw, sqrt]}
  - {scalar: orders_4w, transform: [log1p]}
prior: {intercept: 0.05, weights: {rate: 0.5}}
learner: {kind: vw}
exploration: {kind: epsilon_greedy, epsilon: {start: 1.0, floor: 0.02, half_life: 2000}}
"""


def stakes(*values: float, request: str = "r", deviations: Sequence[float] | None = None) -> Stakes:
    arms = [f"p/{place}" for place in range(len(values) - 1)] + [DO_NOTHING]
    spread = None if deviations is None else np.array(deviations)
    return Stakes(arms, np.array(values), spread, ("seed", "user", "home", request))


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def spec(tmp_path: Path) -> PolicySpec:
    return read_spec(written(tmp_path, TEXT))


def test_a_specification_is_read_and_its_fingerprint_follows_its_content(
    spec: PolicySpec, tmp_path: Path
) -> None:
    assert spec.reward.low == 0.0
    assert spec.reward.high == 1.0
    again = PolicySpec.model_validate_json(spec.model_dump_json(by_alias=True))
    assert again == spec
    assert again.fingerprint == spec.fingerprint
    other = read_spec(written(tmp_path, TEXT.replace("0.02", "0.03")))
    assert other.fingerprint != spec.fingerprint


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("kind: vw", "kind: oracle", "learner"),
        ("start: 1.0", "start: 1.5", "exploration.epsilon_greedy.epsilon.start"),
        ("id: next_category", "id: Next Category", "id:"),
        ("placements: [outbound]", "placements: []", "placements"),
        ("transform: [log1p]", "transform: [cube]", "features.1.scalar.transform"),
        ("scalar: orders_4w", "surprise: orders_4w", "'from', 'scalar', 'one_hot' or 'product'"),
        ("features:", "surprise: 1\nfeatures:", "surprise"),
        ("intercept: 0.05", "intercept: .nan", "prior.intercept"),
        ("features:", "reward: {low: 1, high: 1}\nfeatures:", "must lie below"),
        ("id: next_category", "id: [", "can't be read"),
    ],
)
def test_a_wrong_specification_is_refused_with_the_place(
    tmp_path: Path, before: str, after: str, complaint: str
) -> None:
    assert before in TEXT
    with pytest.raises(PolicySpecError) as refused:
        read_spec(written(tmp_path, TEXT.replace(before, after)))
    assert complaint in str(refused.value)
    assert "policy.yaml" in str(refused.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicySpecError, match="can't be read"):
        read_spec(tmp_path / "nothing.yaml")


def test_a_prior_over_columns_that_do_not_exist_is_refused(tmp_path: Path) -> None:
    wrong = read_spec(written(tmp_path, TEXT.replace("{rate: 0.5}", "{rats: 0.5}")))
    with pytest.raises(PolicySpecError, match="'rats'"):
        cold_start(wrong, VOCABULARIES, NOW, after=None)


def test_exploration_decays_with_training_to_its_floor() -> None:
    decay = Decay(start=1.0, floor=0.02, half_life=2000)
    assert [decay.at(n) for n in (0, 2000, 4000, 10**6)] == [1.0, 0.5, 0.25, 0.02]


def test_a_cold_version_serves_the_prior_and_explores(spec: PolicySpec) -> None:
    policy = cold_start(spec, VOCABULARIES, NOW, after=None).serve()
    features = {"category_rate": [0.2, 0.4, None], "orders_4w": 3, "unread": "x"}
    scores = policy.score(features, ARMS)
    np.testing.assert_allclose(scores, [0.15, 0.25, 0.05])
    assert policy.version == "next_category@1"
    assert policy.inputs == {"category_rate", "orders_4w"}
    np.testing.assert_allclose(policy.explore(stakes(*scores, 0.0)), np.full(4, 0.25))
    assert policy.explain(features, ARMS[1]) == {
        "": 0.05,
        "rate": pytest.approx(0.2),
        "rate.sqrt": 0.0,
        "orders_4w.log1p": 0.0,
    }
    assert policy.score(features, []).shape == (0,)


@pytest.mark.parametrize(
    "changes",
    [
        {
            "exploration": {
                "kind": "softmax",
                "temperature": 0.1,
                "floor": {"start": 1, "floor": 0.1, "half_life": 1},
            }
        },
        {
            "exploration": {
                "kind": "inverse_gap",
                "gamma": 50,
                "floor": {"start": 1, "floor": 0.1, "half_life": 1},
            }
        },
    ],
)
def test_every_kind_of_exploration_is_served(spec: PolicySpec, changes: dict[str, Any]) -> None:
    other = PolicySpec.model_validate(spec.model_dump(by_alias=True) | changes)
    version = msgspec.structs.replace(cold_start(other, VOCABULARIES, NOW, after=None), trained=100)
    vector = version.serve().explore(stakes(0.1, 0.5, 0.0))
    assert vector.sum() == pytest.approx(1.0, abs=1e-12)
    assert vector.argmax() == 1
    assert vector.min() >= 0.1 / 3


def test_a_version_comes_back_from_bytes_complete(spec: PolicySpec) -> None:
    first = cold_start(spec, VOCABULARIES, NOW, after=None)
    again = PolicyVersion.from_bytes(first.to_bytes())
    assert again == first
    assert again.specification() == spec
    assert again.vocabularies == VOCABULARIES
    assert again.created_at == NOW
    with pytest.raises(BrokenWeights):
        PolicyVersion.from_bytes(b"rubbish")


def test_a_child_goes_on_from_its_parent(spec: PolicySpec) -> None:
    from learning.learner import Learnt

    first = cold_start(spec, VOCABULARIES, NOW, after=None)
    model = Linear(("rate", "rate.sqrt", "orders_4w.log1p"), np.array([1.0, 0.0, 0.0]), 0.0, 0.0, 1.0)
    second = child(first, Learnt(model, b"state"), rows=2000, through=77, metrics={"rows": 2000.0}, now=NOW)
    assert (second.version, second.parent, second.trained) == ("next_category@2", "next_category@1", 2000)
    vector = second.serve().explore(stakes(0.9, 0.1))
    np.testing.assert_allclose(vector, [0.75, 0.25])
    foreign = Linear(("other",), np.array([1.0]), 0.0, 0.0, 1.0)
    with pytest.raises(BrokenWeights, match="other columns"):
        msgspec.structs.replace(second, model=foreign.to_bytes()).serve()
