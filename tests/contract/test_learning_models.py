"""What every value model promises."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from learning.errors import BrokenWeights
from learning.models import (
    DisjointGaussian,
    KnownWorth,
    Linear,
    LinearGaussian,
    LogisticGaussian,
    ValueModel,
    model_from_bytes,
)

NAMES = tuple(f"column {i}" for i in range(7))


def _gaussian(seed: int) -> LinearGaussian:
    rng = np.random.default_rng(seed)
    prior = LinearGaussian.prior(NAMES, low=0.0, high=1.0, ridge=0.7)
    return prior.learn(rng.random((200, 7)), (rng.random(200) < 0.4).astype(float), rng.random(200))


def _linear(seed: int, link: str) -> Linear:
    rng = np.random.default_rng(seed)
    return Linear(NAMES, rng.normal(size=7), -0.3, 0.0, 1.0, link)  # type: ignore[arg-type]


def _disjoint(seed: int) -> DisjointGaussian:
    rng = np.random.default_rng(seed)
    prior = DisjointGaussian.prior(NAMES, (2, 5), low=0.0, high=1.0, ridge=0.7)
    return prior.learn(marked(rng.random((200, 7)), rng), (rng.random(200) < 0.4).astype(float))


def marked(matrix: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the rows with columns 2 and 5 as marks: a row of one arm, of the other, or of neither."""
    matrix[:, [2, 5]] = np.eye(3)[rng.integers(0, 3, len(matrix)), :2]
    return matrix


def _logistic(seed: int) -> LogisticGaussian:
    rng = np.random.default_rng(seed)
    prior = LogisticGaussian.prior(NAMES, low=0.0, high=1.0, ridge=0.7)
    return prior.learn(rng.random((200, 7)), (rng.random(200) < 0.4).astype(float), rng.random(200))


def _worth(seed: int) -> KnownWorth:
    rng = np.random.default_rng(seed)
    others = NAMES[:3] + NAMES[4:]
    prior = LinearGaussian.prior(others, low=0.0, high=1.0, ridge=0.7)
    chance = prior.learn(rng.random((200, 6)), (rng.random(200) < 0.4).astype(float))
    return KnownWorth(NAMES, 3, chance, 0.0, 1.0)


MODELS: dict[str, ValueModel] = {
    "known_worth": _worth(3),
    "linear": _linear(1, "identity"),
    "linear_logistic": _linear(2, "logistic"),
    "linear_gaussian": _gaussian(3),
    "disjoint_gaussian": _disjoint(3),
    "logistic_gaussian": _logistic(3),
}


@pytest.fixture(params=sorted(MODELS))
def model(request: pytest.FixtureRequest) -> ValueModel:
    return MODELS[request.param]


def test_predictions_are_one_a_row_and_within_bounds(model: ValueModel) -> None:
    matrix = np.random.default_rng(4).normal(size=(500, 7)) * 5
    predictions = model.predict(matrix)
    assert predictions.shape == (500,)
    assert predictions.dtype == np.float64
    assert predictions.min() >= 0.0
    assert predictions.max() <= 1.0
    assert model.predict(np.empty((0, 7))).shape == (0,)


def test_bytes_bring_back_the_model_to_the_last_bit(model: ValueModel) -> None:
    matrix = np.random.default_rng(5).normal(size=(100, 7))
    again = model_from_bytes(model.to_bytes())
    assert type(again) is type(model)
    assert again.names == model.names
    assert again.to_bytes() == model.to_bytes()
    assert (again.predict(matrix) == model.predict(matrix)).all()


def test_an_explanation_adds_up_and_orders_like_the_predictions(model: ValueModel) -> None:
    # Not far from what was learnt, where bounds cut nothing.
    rows = np.random.default_rng(6).normal(size=(50, 7)) * 0.1
    if isinstance(model, DisjointGaussian):
        rows[:, model.marks] = np.eye(3)[np.arange(50) % 3, :2]
    raw = np.array([sum(model.explain(row).values()) for row in rows])
    assert set(model.explain(rows[0])) == {"", *NAMES}
    predictions = model.predict(rows)
    assert (np.diff(predictions[np.argsort(raw)]) >= -1e-12).all()


@pytest.mark.parametrize("data", [b"", b"rubbish", msgspec.msgpack.encode({"kind": "oracle"})])
def test_damaged_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BrokenWeights):
        model_from_bytes(data)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(BrokenWeights, match="not finite"):
        Linear(("a",), np.array([value]), 0.0, 0.0, 1.0)
    with pytest.raises(BrokenWeights, match="not finite"):
        Linear(("a",), np.array([1.0]), value, 0.0, 1.0)
    with pytest.raises(BrokenWeights, match="not finite"):
        LinearGaussian(("a",), np.eye(2), np.array([0.0, value]), 0.0, 0.0, 0.0, 1.0)
    with pytest.raises(BrokenWeights, match="not finite"):
        LogisticGaussian(("a",), np.array([0.0, value]), np.eye(2), 0, 0.0, 1.0)


def test_bytes_cut_short_are_refused(model: ValueModel) -> None:
    data = model.to_bytes()
    for end in (1, len(data) // 2, len(data) - 9, len(data) - 1):
        with pytest.raises(BrokenWeights):
            model_from_bytes(data[:end])


def test_sums_of_another_size_are_refused() -> None:
    for name, numbers in (("linear_gaussian", "precision"), ("logistic_gaussian", "covariance")):
        wire = msgspec.msgpack.decode(MODELS[name].to_bytes())
        with pytest.raises(BrokenWeights, match="damaged"):
            model_from_bytes(msgspec.msgpack.encode(wire | {numbers: wire[numbers][:-8]}))
    wire = msgspec.msgpack.decode(MODELS["disjoint_gaussian"].to_bytes())
    for wrong in ({"parts": wire["parts"][1:]}, {"marks": [2, 2]}, {"marks": [2, 9]}, {"marks": [2, 6]}):
        with pytest.raises(BrokenWeights):
            model_from_bytes(msgspec.msgpack.encode(wire | wrong))


def test_a_disjoint_model_is_a_ridge_regression_of_each_arm() -> None:
    rng = np.random.default_rng(14)
    matrix, targets = marked(rng.normal(size=(300, 7)), rng), rng.normal(size=300)
    prior = DisjointGaussian.prior(NAMES, (2, 5), low=-9.0, high=9.0, ridge=2.0)
    model, own = prior.learn(matrix, targets), [0, 1, 3, 4, 6]
    for arm in (matrix[:, 2] == 1, matrix[:, 5] == 1, matrix[:, [2, 5]].sum(axis=1) == 0):
        start = LinearGaussian.prior(tuple(NAMES[i] for i in own), low=-9.0, high=9.0, ridge=2.0)
        alone = start.learn(matrix[arm][:, own], targets[arm])
        np.testing.assert_allclose(model.predict(matrix[arm]), alone.predict(matrix[arm][:, own]), atol=1e-12)
        np.testing.assert_allclose(model.deviation(matrix[arm]), alone.deviation(matrix[arm][:, own]))


def test_the_logistic_model_finds_the_maximum_of_the_posterior() -> None:
    """Row by row it ends near the maximum over all rows at once: within half its own deviation."""
    rng = np.random.default_rng(15)
    matrix = rng.normal(size=(2_000, 7))
    chances = expit(matrix @ np.linspace(-1, 1, 7) - 0.5)
    shares = np.where(rng.random(2_000) < 0.2, chances, (rng.random(2_000) < chances).astype(float))
    prior = LogisticGaussian.prior(NAMES, low=-2.0, high=4.0, ridge=0.5)
    model = prior.learn(matrix, -2.0 + 6.0 * shares)
    rows = np.column_stack([matrix, np.ones(2_000)])

    def loss(weights: NDArray[np.float64]) -> float:
        z = rows @ weights
        return float((np.logaddexp(0, z) - shares * z).sum() + 0.25 * weights @ weights)

    whole = minimize(loss, np.zeros(8), method="BFGS")
    off = np.abs(model.mean - whole.x) / np.sqrt(np.diagonal(model.covariance))
    assert off.max() < 0.5
    chance = expit(rows @ whole.x)
    precision = rows.T @ (rows * (chance * (1 - chance))[:, None]) + 0.5 * np.eye(8)
    np.testing.assert_allclose(model.covariance, np.linalg.inv(precision), rtol=0.15, atol=3e-4)


@pytest.mark.parametrize("at", [-30.0, 0.0, 30.0])
def test_one_row_moves_the_logistic_model_to_the_exact_maximum(at: float) -> None:
    prior = LogisticGaussian.prior(("a",), low=0.0, high=1.0, ridge=0.01, intercept=at)
    model = prior.learn(np.array([[2.0]]), np.array([0.3]), np.array([7.0]))
    # The gradient of the posterior is 0 at its maximum.
    pull = 7.0 * (0.3 - model.predict(np.array([[2.0]]))[0])
    np.testing.assert_allclose(0.01 * (model.mean - prior.mean), pull * np.array([2.0, 1.0]), atol=1e-9)


@pytest.mark.parametrize("name", ["linear_gaussian", "disjoint_gaussian", "logistic_gaussian"])
def test_shards_merge(name: str) -> None:
    rng = np.random.default_rng(16)
    matrix = marked(rng.normal(size=(900, 7)), rng)
    targets = (rng.random(900) < expit(matrix @ np.linspace(-1, 1, 7))).astype(float)
    prior: Any = {
        "linear_gaussian": LinearGaussian.prior(NAMES, low=0.0, high=1.0, ridge=1.0, intercept=0.3),
        "disjoint_gaussian": DisjointGaussian.prior(NAMES, (2, 5), low=0.0, high=1.0, ridge=1.0),
        "logistic_gaussian": LogisticGaussian.prior(NAMES, low=0.0, high=1.0, ridge=1.0),
    }[name]
    shards = [prior.learn(matrix[i::3], targets[i::3]) for i in range(3)]
    merged, whole = shards[0].merged(shards[1:], prior), prior.learn(matrix, targets)
    exact = name != "logistic_gaussian"
    off = merged.predict(matrix) - whole.predict(matrix)
    # Logistic posteriors are Gaussian only nearly, but nearer than the model is sure.
    assert np.abs(off / whole.deviation(matrix)).max() < (1e-9 if exact else 1.0)
    np.testing.assert_allclose(
        merged.deviation(matrix), whole.deviation(matrix), rtol=1e-9 if exact else 0.25
    )
    with pytest.raises(BrokenWeights, match="other columns"):
        merged.merged([_other(prior)], prior)


def _other(prior: Any) -> Any:
    names = ("other", *NAMES[1:])
    if isinstance(prior, DisjointGaussian):
        return DisjointGaussian.prior(names, prior.marks, low=0.0, high=1.0, ridge=1.0)
    return type(prior).prior(names, low=0.0, high=1.0, ridge=1.0)


def test_the_gaussian_model_is_ridge_regression_however_the_rows_come() -> None:
    rng = np.random.default_rng(8)
    matrix, targets = rng.normal(size=(300, 7)), rng.normal(size=300)
    prior = LinearGaussian.prior(NAMES, low=-9.0, high=9.0, ridge=2.0)
    rows = np.column_stack([matrix, np.ones(300)])
    direct = np.linalg.solve(rows.T @ rows + 2.0 * np.eye(8), rows.T @ targets)
    whole = prior.learn(matrix, targets)
    parts = prior.learn(matrix[:100], targets[:100]).learn(matrix[100:], targets[100:])
    for model in (whole, parts):
        np.testing.assert_allclose(np.append(model.weights, model.intercept), direct, rtol=1e-9)


def test_an_importance_of_two_is_the_row_twice_and_the_deviation_shrinks() -> None:
    rng = np.random.default_rng(9)
    matrix, targets = rng.normal(size=(50, 7)), rng.normal(size=50)
    prior = LinearGaussian.prior(NAMES, low=-9.0, high=9.0, ridge=1.0)
    once = prior.learn(matrix, targets, np.full(50, 2.0))
    twice = prior.learn(np.vstack([matrix, matrix]), np.concatenate([targets, targets]))
    np.testing.assert_allclose(once.weights, twice.weights, rtol=1e-9)
    few = prior.learn(matrix[:10], targets[:10])
    assert (once.deviation(matrix) / once.noise**0.5 < few.deviation(matrix) / few.noise**0.5).all()


def test_the_noise_is_what_the_rewards_scatter_by() -> None:
    rng = np.random.default_rng(11)
    matrix = rng.normal(size=(20_000, 7))
    targets = np.clip(matrix @ np.linspace(-0.02, 0.02, 7) + 0.5 + rng.normal(scale=0.1, size=20_000), 0, 1)
    prior = LinearGaussian.prior(NAMES, low=0.0, high=1.0, ridge=1.0, weights=np.full(7, 0.5), intercept=0.1)
    assert prior.noise == 0.25
    assert prior.learn(matrix, targets).noise == pytest.approx(0.01, rel=0.1)


def test_the_deviation_is_how_far_the_expectation_scatters() -> None:
    """Over data sets drawn from the prior, the truth lies in the posterior's interval as often as said."""
    rng = np.random.default_rng(12)
    matrix, asked, hits = rng.normal(size=(60, 7)), rng.normal(size=(40, 7)), []
    prior = LinearGaussian.prior(NAMES, low=-1e3, high=1e3, ridge=1.0)
    for _ in range(200):
        truth = rng.normal(size=8)
        targets = matrix @ truth[:7] + truth[7] + rng.normal(size=60)
        # With bounds this wide the prior row of noise would drown the 60 there are.
        learnt = msgspec.msgpack.decode(prior.learn(matrix, targets).to_bytes())
        model = model_from_bytes(msgspec.msgpack.encode(learnt | {"low": -1.0, "high": 1.0}))
        deviation = model.deviation(asked)
        assert deviation is not None
        expected = asked @ truth[:7] + truth[7]
        raw = np.array([sum(model.explain(row).values()) for row in asked])
        hits.append(np.abs(raw - expected) < 1.96 * deviation)
    assert np.mean(hits) == pytest.approx(0.95, abs=0.02)


def test_only_a_posterior_has_deviations(model: ValueModel) -> None:
    rows = np.random.default_rng(13).normal(size=(5, 7))
    deviation = model.deviation(rows)
    if isinstance(model, Linear):
        assert deviation is None
    else:
        assert deviation is not None
        assert deviation.shape == (5,)
        assert (deviation > 0).all()
        assert model.deviation(np.empty((0, 7))).shape == (0,)  # type: ignore[union-attr]


def test_what_a_success_is_worth_scales_its_chance_with_all_that_is_told_of_it() -> None:
    model = _worth(3)
    wide = KnownWorth(NAMES, 3, model.chance, -20.0, 20.0)
    row = np.full(7, 0.2)
    low, high = (np.array([*row[:3], worth, *row[4:]]) for worth in (1.0, -12.0))
    chance = float(model.chance.predict(np.delete(row, 3)[None, :])[0])
    deviations = wide.deviation(np.stack([low, high]))
    assert wide.predict(np.stack([low, high])) == pytest.approx([chance, -12 * chance])
    assert deviations is not None
    assert deviations[1] == pytest.approx(12 * deviations[0])
    assert sum(wide.explain(high).values()) == pytest.approx(-12 * chance)
    assert wide.explain(high)["column 3"] == 0.0
    many = np.random.default_rng(4).random((3, 2, 7))
    np.testing.assert_allclose(wide.predict(many), [wide.predict(one) for one in many])
    with pytest.raises(BrokenWeights, match="other columns"):
        KnownWorth(NAMES, 2, model.chance, 0.0, 1.0)
    with pytest.raises(BrokenWeights, match="column 7 of 7"):
        KnownWorth(NAMES, 7, model.chance, 0.0, 1.0)
    with pytest.raises(BrokenWeights, match="between"):
        KnownWorth(NAMES, 3, model.chance, 1.0, 1.0)
