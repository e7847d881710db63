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
from learning.exploration_kinds import Decay
from learning.models import Linear
from learning.rows import Rows
from learning.spec import PolicySpec, read_spec
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
        ("scalar: orders_4w", "surprise: orders_4w", "'one_hot', 'steps', 'product', 'cross' or 'sum'"),
        ("features:", "surprise: 1\nfeatures:", "surprise"),
        ("intercept: 0.05", "intercept: .nan", "prior.intercept"),
        ("features:", "reward: {low: 1, high: 1}\nfeatures:", "must lie below"),
        ("id: next_category", "id: [", "not YAML: line 4: did not find"),
        ("learner: {kind: vw}", "", "learner: exploration.kind epsilon_greedy needs one"),
        ("kind: epsilon_greedy, epsilon", "kind: thompson, floor", "has not: write {kind: linear_gaussian}"),
        ("kind: epsilon_greedy, epsilon", "kind: thompson, draws: 5, floor", "exploration.thompson.draws"),
        ("{kind: vw}", "{kind: logistic, per: arm.category}", "learner.logistic.per"),
        ("{kind: vw}", "{kind: linear_gaussian, per: arm.color}", "add {one_hot: arm.color} to features"),
        ("{kind: vw}", "{kind: linear_gaussian, half_life: 0}", "learner.linear_gaussian.half_life"),
        ("kind: epsilon_greedy, epsilon", "kind: thompson, width: 0, floor", "exploration.thompson.width"),
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


@pytest.mark.parametrize(
    ("learner", "complaint"),
    [
        ("{kind: vw, worth: rates}", "learner.worth names the column 'rates', .* did you mean 'rate'"),
        ("{kind: vw, worth: rate}", "prior.weights names the column 'rate'"),
        (
            "{kind: portfolio, members: {a: {kind: vw, worth: rates}, b: {kind: vw, worth: rates}}}",
            "learner.worth names the column 'rates'",
        ),
    ],
)
def test_a_worth_that_is_no_column_or_weighed_is_refused(
    learner: str, complaint: str, tmp_path: Path
) -> None:
    spec = read_spec(written(tmp_path, TEXT.replace("{kind: vw}", learner)))
    with pytest.raises(PolicySpecError, match=complaint):
        cold_start(spec, VOCABULARIES, NOW, after=None)


def test_a_known_worth_multiplies_the_prior_chance_and_explores_by_what_is_at_stake(tmp_path: Path) -> None:
    text = TEXT.replace("{kind: vw}", "{kind: linear_gaussian, worth: orders_4w.log1p}")
    text = text.replace("kind: epsilon_greedy, epsilon", "kind: thompson, width: 0.5, floor")
    spec = read_spec(written(tmp_path, text.replace("prior:", "reward: {low: 0, high: 10}\nprior:")))
    policy = cold_start(spec, VOCABULARIES, NOW, after=None).serve()
    features = {"category_rate": [0.2, 0.0, 0.0], "orders_4w": np.e - 1}
    np.testing.assert_allclose(policy.score(features, ARMS), [0.15, 0.05, 0.05])
    twice = {**features, "orders_4w": np.e**2 - 1}
    np.testing.assert_allclose(policy.score(twice, ARMS), [0.3, 0.1, 0.1])
    once, again = policy.deviations(features, ARMS), policy.deviations(twice, ARMS)
    assert once is not None
    assert again is not None
    np.testing.assert_allclose(again, 2 * once)


def test_what_was_there_before_a_worth_and_a_width_keeps_its_fingerprint(spec: PolicySpec) -> None:
    assert spec.fingerprint == "bb7c616640ea6ecf"


def test_a_narrower_draw_explores_less(tmp_path: Path) -> None:
    text = TEXT.replace("{kind: vw}", "{kind: linear_gaussian}").replace(
        "start: 1.0, floor: 0.02", "start: 0, floor: 0"
    )
    made = []
    for width in ("", "width: 0.25, "):
        changed = text.replace("kind: epsilon_greedy, epsilon", f"kind: thompson, {width}floor")
        exploration = read_spec(written(tmp_path, changed)).exploration
        made.append(exploration.vector(stakes(0.3, 0.2, 0.0, deviations=[0.1, 0.1, 0.0]), 0))
    # The second arm is best with a chance of Φ(−0.1 / (width × 0.1 × √2)).
    assert made[0][1] == pytest.approx(0.24, abs=0.06)
    assert made[1][1] < 0.02


SPLIT = """
id: coffee_or_tea
placements: [home]
exploration: {kind: fixed_split, shares: {p/coffee: 0.45, p/tea: 0.45, do_nothing: 0.1}}
"""
SCORING = """learner: {kind: vw}
exploration: {kind: softmax, temperature: 1, floor: {start: 0, floor: 0, half_life: 1}}
"""


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("p/coffee: 0.45", "p/coffee: 0", "exploration.fixed_split.shares.p/coffee: Input should be greater"),
        ("p/coffee: 0.45", "p/coffee: .inf", "exploration.fixed_split.shares.p/coffee"),
        ("p/coffee: 0.45", "coffee: 0.45", "exploration.fixed_split.shares.coffee"),
        ("shares:", "share:", "exploration.fixed_split.shares: Field required"),
        ("exploration:", "learner: {kind: vw}\nexploration:", "learns nothing: leave out"),
        ("exploration:", "prior: {intercept: 1}\nexploration:", "learns nothing: leave out"),
        ("exploration:", "features: [{scalar: age}]\nexploration:", "learns nothing: leave out"),
        ("{kind: fixed_split, shares:", "{kind: single, variant:", "exploration.single.variant"),
        (SPLIT[SPLIT.index("exploration:") :], SCORING, "needs at least one feature"),
    ],
)
def test_a_wrong_fixed_policy_is_refused_with_the_place(
    tmp_path: Path, before: str, after: str, complaint: str
) -> None:
    assert before in SPLIT
    with pytest.raises(PolicySpecError) as refused:
        read_spec(written(tmp_path, SPLIT.replace(before, after)))
    assert complaint in str(refused.value)


def test_a_fixed_split_draws_by_its_shares_among_the_eligible(tmp_path: Path) -> None:
    policy = cold_start(read_spec(written(tmp_path, SPLIT)), {}, NOW, after=None).serve()
    arms = [Arm(f"p/{name}", "p", name, "mailbox", "notice", {}) for name in ("tea", "milk", "coffee")]
    assert policy.inputs == frozenset()
    assert policy.score({}, arms).tolist() == [0.0, 0.0, 0.0]
    request = ("seed", "user", "home", "r")

    def vector(*ids: str) -> list[float]:
        return list(policy.explore(Stakes(ids, np.zeros(len(ids)), None, request)))

    np.testing.assert_allclose(vector("p/tea", "p/milk", "p/coffee", DO_NOTHING), [0.45, 0, 0.45, 0.1])
    np.testing.assert_allclose(vector("p/milk", "p/coffee", DO_NOTHING), [0, 0.45 / 0.55, 0.1 / 0.55])
    assert vector("p/milk", DO_NOTHING) == [0.0, 1.0]
    assert vector(DO_NOTHING) == [1.0]


def test_shares_of_any_size_make_a_distribution(tmp_path: Path) -> None:
    huge = read_spec(written(tmp_path, SPLIT.replace("0.45", "1.0e+308")))
    policy = cold_start(huge, {}, NOW, after=None).serve()
    vector = policy.explore(Stakes(["p/tea", "p/coffee", DO_NOTHING], np.zeros(3), None, ("", "", "", "")))
    np.testing.assert_allclose(vector, [0.5, 0.5, 0.0], atol=1e-15)


def test_a_single_variant_is_shown_where_it_is_eligible_and_nothing_elsewhere(tmp_path: Path) -> None:
    text = "id: only_tea\nplacements: [home]\nexploration: {kind: single, variant: p/tea}\n"
    policy = cold_start(read_spec(written(tmp_path, text)), {}, NOW, after=None).serve()
    for ids, expected in (
        (["p/coffee", "p/tea", DO_NOTHING], [0, 1, 0]),
        (["p/coffee", DO_NOTHING], [0, 1]),
    ):
        vector = policy.explore(Stakes(ids, np.zeros(len(ids)), None, ("s", "u", "home", "r")))
        assert vector.tolist() == expected


def test_thompson_draws_from_the_posterior_of_the_model(spec: PolicySpec) -> None:
    drawing = {
        "learner": {"kind": "linear_gaussian", "ridge": 4.0},
        "exploration": {
            "kind": "thompson",
            "draws": 1000,
            "floor": {"start": 0.1, "floor": 0.1, "half_life": 1},
        },
    }
    other = PolicySpec.model_validate(spec.model_dump(by_alias=True) | drawing)
    policy = cold_start(other, VOCABULARIES, NOW, after=None).serve()
    features = {"category_rate": [0.2, 0.4, None], "orders_4w": 3}
    scores, deviations = policy.score(features, ARMS), policy.deviations(features, ARMS)
    np.testing.assert_allclose(scores, [0.15, 0.25, 0.05])
    assert deviations is not None
    # One row of the largest variance, 1/4, is all that is known of the noise; the ridge is the precision.
    rows = np.column_stack([policy.matrix(features, ARMS), np.ones(3)])
    np.testing.assert_allclose(deviations, np.sqrt((rows**2).sum(axis=1) / 4.0 / 4.0))
    asked = stakes(*scores, 0.0, deviations=[*deviations, 0.0])
    vector = policy.explore(asked)
    assert vector.sum() == pytest.approx(1.0, abs=1e-12)
    assert vector.min() >= 0.1 / 4
    assert (policy.explore(asked) == vector).all()
    again = policy.explore(stakes(*scores, 0.0, deviations=[*deviations, 0.0], request="another"))
    assert 0 < np.abs(again - vector).max() < 0.1


def test_a_model_without_a_posterior_has_no_deviations(spec: PolicySpec) -> None:
    policy = cold_start(spec, VOCABULARIES, NOW, after=None).serve()
    assert policy.deviations({"category_rate": [0.2, 0.4, None], "orders_4w": 3}, ARMS) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{kind: vw}", "{kind: linear_gaussian, half_life: 5000}"),
        ("{kind: vw}", "{kind: linear_gaussian}"),
    ],
)
def test_learners_are_read(tmp_path: Path, before: str, after: str) -> None:
    read = read_spec(written(tmp_path, TEXT.replace(before, after)))
    assert PolicySpec.model_validate_json(read.model_dump_json(by_alias=True)) == read


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
    second = child(
        first, Learnt(model, b"state"), trained=2000, through=77, metrics={"rows": 2000.0}, now=NOW
    )
    assert (second.version, second.parent, second.trained) == ("next_category@2", "next_category@1", 2000)
    vector = second.serve().explore(stakes(0.9, 0.1))
    np.testing.assert_allclose(vector, [0.75, 0.25])
    foreign = Linear(("other",), np.array([1.0]), 0.0, 0.0, 1.0)
    with pytest.raises(BrokenWeights, match="other columns"):
        msgspec.structs.replace(second, model=foreign.to_bytes()).serve()


def test_guards_and_costs_change_nothing_that_was_learnt(spec: PolicySpec) -> None:
    document = spec.model_dump(by_alias=True)
    shaped = document | {"guards": [{"loyal": "gold", "newer": "fresh"}], "costs": {"EUR": 0.01}}
    assert PolicySpec.model_validate(shaped).fingerprint == spec.fingerprint
    with pytest.raises(ValueError, match="no currency 'EURO'"):
        PolicySpec.model_validate(document | {"costs": {"EURO": 1}})


def test_a_fallback_changes_nothing_that_was_learnt_and_is_of_an_inline_placement(spec: PolicySpec) -> None:
    document = spec.model_dump(by_alias=True) | {"placements": ["outbound", "home"]}
    named = PolicySpec.model_validate(document | {"fallbacks": {"home": "welcome/tea"}})
    assert named.fingerprint == PolicySpec.model_validate(document).fingerprint
    for placement, name, why in (
        ("hom", "welcome", "no placement 'hom', did you mean 'home'"),
        ("outbound", "welcome", "outbound has none: what is sent needs consent and caps"),
        ("home", "Welcome everyone", "should match pattern"),
    ):
        with pytest.raises(ValueError, match=why):
            PolicySpec.model_validate(document | {"fallbacks": {placement: name}})


def test_specifications_from_before_there_were_models_by_arm_keep_what_was_learnt(tmp_path: Path) -> None:
    text = TEXT.replace("kind: vw", "kind: linear_gaussian")
    assert read_spec(written(tmp_path, text)).fingerprint == "ff7a59953a18977c"
    by_arm = text.replace("features:", "features:\n  - {one_hot: arm.category}").replace(
        "linear_gaussian", "linear_gaussian, per: arm.category"
    )
    whole = read_spec(written(tmp_path, by_arm.replace(", per: arm.category", "")))
    assert read_spec(written(tmp_path, by_arm)).fingerprint != whole.fingerprint


def test_each_arm_has_a_model_of_its_own(tmp_path: Path) -> None:
    text = TEXT.replace("features:", "features:\n  - {one_hot: arm.category}").replace(
        "{kind: vw}", "{kind: linear_gaussian, per: arm.category}"
    )
    text = text.replace("{rate: 0.5}", "{rate: 0.5, category=BACON: 0.25}")
    spec = read_spec(written(tmp_path, text))
    first = cold_start(spec, VOCABULARIES, NOW, after=None)
    features = {"category_rate": [0.2, 0.4, None], "orders_4w": 3}
    np.testing.assert_allclose(first.serve().score(features, ARMS), [0.15, 0.5, 0.05])
    assert spec.learner is not None
    learner = spec.learner.start(first.task())
    matrix = first.serve().matrix(features, ARMS)
    rows = Rows(matrix[[1] * 50], np.ones(50), np.full(50, 0.5), np.ones(50))
    second = child(first, learner.fold(None, rows), trained=50, through=1, metrics={}, now=NOW)
    scores = second.serve().score(features, ARMS)
    assert scores[1] > 0.9
    # What was learnt of bacon says nothing of the others, and nothing of an arm nobody has heard of.
    np.testing.assert_allclose(scores[[0, 2]], [0.15, 0.05])
    stranger = Arm("p/new", "p", "new", "mailbox", "notice", {"category": "NEW"})
    assert second.serve().score(features, [stranger])[0] == pytest.approx(0.05)


def test_more_columns_than_a_posterior_has_room_for_are_refused(tmp_path: Path) -> None:
    text = TEXT.replace("features:", "features:\n  - {one_hot: arm.category}")
    many = {"category": [f"c{i}" for i in range(6_000)]}
    for learner in ("linear_gaussian", "logistic"):
        spec = read_spec(written(tmp_path, text.replace("kind: vw", f"kind: {learner}")))
        with pytest.raises(PolicySpecError, match="use fewer features"):
            cold_start(spec, many, NOW, after=None)
    assert cold_start(read_spec(written(tmp_path, text)), many, NOW, after=None).number == 1
