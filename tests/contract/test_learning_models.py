"""What every value model promises."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from learning.errors import BrokenWeights
from learning.models import Linear, LinearGaussian, ValueModel, model_from_bytes

NAMES = tuple(f"column {i}" for i in range(7))


def _gaussian(seed: int) -> LinearGaussian:
    rng = np.random.default_rng(seed)
    prior = LinearGaussian.prior(NAMES, low=0.0, high=1.0, ridge=0.7)
    return prior.learn(rng.random((200, 7)), (rng.random(200) < 0.4).astype(float), rng.random(200))


def _linear(seed: int, link: str) -> Linear:
    rng = np.random.default_rng(seed)
    return Linear(NAMES, rng.normal(size=7), -0.3, 0.0, 1.0, link)  # type: ignore[arg-type]


MODELS: dict[str, ValueModel] = {
    "linear": _linear(1, "identity"),
    "linear_logistic": _linear(2, "logistic"),
    "linear_gaussian": _gaussian(3),
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
    rows = np.random.default_rng(6).normal(size=(50, 7)) * 0.1
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
