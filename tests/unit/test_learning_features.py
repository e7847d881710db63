from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from learning.errors import FeaturesMismatch, PolicySpecError
from learning.features import LARGEST, Feature, FeatureSet
from playbooks.models import Arm

VOCABULARY = ["MILK", "DRY BN/VEG", "CANDY - PACKAGED"]


class Document(BaseModel):
    features: list[Feature]


def compile_(*features: dict[str, Any]) -> FeatureSet:
    document = Document.model_validate({"features": list(features)})
    return FeatureSet(document.features, {"category": VOCABULARY})


def arm(category: str | None) -> Arm:
    attributes = {} if category is None else {"category": category}
    return Arm(f"p/{category}", "p", str(category), "mailbox", "notice", attributes)


ARMS = [arm(name) for name in VOCABULARY]
RATE = {"name": "rate", "from": "category_rate", "at": "arm.category"}


def test_an_array_gives_each_arm_its_own_number_and_a_scalar_all_the_same() -> None:
    features = compile_({**RATE, "transform": ["raw", "sqrt"]}, {"scalar": "orders", "transform": ["log1p"]})
    matrix = features.matrix({"category_rate": [0.25, 0.0, 4.0], "orders": 3}, ARMS)
    assert features.names == ("rate", "rate.sqrt", "orders.log1p")
    np.testing.assert_allclose(
        matrix, [[0.25, 0.5, np.log(4)], [0.0, 0.0, np.log(4)], [4.0, 2.0, np.log(4)]], rtol=1e-15
    )


def test_the_order_and_choice_of_arms_decide_the_rows() -> None:
    features = compile_(RATE, {"one_hot": "arm.category"})
    matrix = features.matrix({"category_rate": np.array([1.0, 2.0, 3.0])}, [ARMS[2], ARMS[0]])
    assert features.names == ("rate", "category=MILK", "category=DRY BN/VEG", "category=CANDY - PACKAGED")
    assert matrix.tolist() == [[3.0, 0.0, 0.0, 1.0], [1.0, 1.0, 0.0, 0.0]]
    assert features.matrix({"category_rate": [1.0, 2.0, 3.0]}, ARMS)[:, 0].tolist() == [1.0, 2.0, 3.0]


def test_products_scales_and_caps() -> None:
    features = compile_(
        {**RATE, "scale": 10, "cap": 25}, {"scalar": "orders"}, {"product": ["rate", "orders"]}
    )
    matrix = features.matrix({"category_rate": [1, 2, 3], "orders": 2.0}, ARMS)
    assert features.names[-1] == "rate*orders"
    assert matrix.tolist() == [[10.0, 2.0, 20.0], [20.0, 2.0, 40.0], [25.0, 2.0, 50.0]]


def test_what_is_missing_is_0_and_says_so() -> None:
    features = compile_({**RATE, "missing": True}, {"scalar": "orders", "missing": True})
    arms = [ARMS[0], ARMS[1], arm(None), arm("UNHEARD OF")]
    matrix = features.matrix({"category_rate": [1.5, None, 2.0], "orders": float("nan")}, arms)
    assert features.names == ("rate", "rate.missing", "orders", "orders.missing")
    assert matrix.tolist() == [[1.5, 0, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1]]
    assert features.matrix({}, [ARMS[0]]).tolist() == [[0, 1, 0, 1]]


def test_only_the_features_it_reads_are_inputs() -> None:
    features = compile_(RATE, {"scalar": "orders", "name": "trips"}, {"one_hot": "arm.category"})
    assert features.inputs == {"category_rate", "orders"}
    assert "trips" in features.names


def test_no_arms_make_no_rows() -> None:
    assert compile_(RATE).matrix({"category_rate": [1, 2, 3]}, []).shape == (0, 1)


def test_remembered_positions_do_not_leak_between_arms_made_anew() -> None:
    features = compile_(RATE)
    for turn in range(5000):
        fresh = arm(VOCABULARY[turn % 3])
        assert features.matrix({"category_rate": [0.0, 1.0, 2.0]}, [fresh]).tolist() == [[turn % 3]]


ANYTHING = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


@given(st.lists(ANYTHING, min_size=3, max_size=3), ANYTHING, st.floats(-1e9, 1e9))
def test_whatever_comes_in_what_comes_out_is_finite(
    array: list[float | None], scalar: float | None, scale: float
) -> None:
    features = compile_(
        {**RATE, "transform": ["raw", "sqrt", "log1p"], "scale": scale, "missing": True},
        {"scalar": "orders", "transform": ["raw", "log1p"], "scale": scale},
        {"product": ["rate", "orders"]},
        {"product": ["rate*orders", "rate*orders"]},
    )
    matrix = features.matrix({"category_rate": array, "orders": scalar}, ARMS)
    assert np.isfinite(matrix).all()
    assert np.abs(matrix).max() <= LARGEST


@pytest.mark.parametrize("value", [[1.0, 2.0], [1, 2, 3, 4], 3.0, ["a", "b", "c"], [[1, 2, 3]]])
def test_an_array_of_another_shape_is_refused(value: Any) -> None:
    with pytest.raises(FeaturesMismatch, match="category_rate"):
        compile_(RATE).matrix({"category_rate": value}, ARMS)


def test_a_scalar_that_is_no_number_is_refused() -> None:
    with pytest.raises(FeaturesMismatch, match="orders"):
        compile_({"scalar": "orders"}).matrix({"orders": "many"}, ARMS)


@pytest.mark.parametrize(
    ("features", "complaint"),
    [
        ([RATE, RATE], "two columns are named 'rate'"),
        ([{"product": ["rate", "orders"]}], "'rate', which is not declared above"),
        ([{"one_hot": "arm.colour"}], "arm.colour has no vocabulary"),
    ],
)
def test_a_specification_that_makes_no_sense_is_refused(features: list[Any], complaint: str) -> None:
    with pytest.raises(PolicySpecError, match=complaint):
        compile_(*features)


@pytest.mark.parametrize(
    "feature",
    [
        {"from": "category_rate", "at": "arm.category"},
        {"scalar": "a|b"},
        {"scalar": "a:1"},
        {"scalar": "a b"},
        {"scalar": "a\nb"},
        {"scalar": "orders", "transform": ["cube"]},
        {"scalar": "orders", "scale": float("inf")},
        {"surprise": "orders"},
    ],
)
def test_a_wrong_feature_is_refused_when_it_is_read(feature: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Document.model_validate({"features": [feature]})


CELL = st.one_of(st.none(), st.just(float("nan")), st.floats(-1e7, 1e7), st.booleans())
ROW = st.fixed_dictionaries(
    {},
    optional={
        "category_rate": st.none() | st.lists(CELL, min_size=len(VOCABULARY), max_size=len(VOCABULARY)),
        "orders": CELL,
    },
)


@given(st.lists(st.tuples(ROW, st.sampled_from([*ARMS, arm(None), arm("UNKNOWN")])), max_size=6))
def test_rows_of_many_users_are_those_of_each(drawn: list[tuple[dict[str, Any], Arm]]) -> None:
    features = compile_(
        {**RATE, "transform": ["raw", "sqrt"], "missing": True, "cap": 50},
        {"scalar": "orders", "transform": ["log1p"], "missing": True},
        {"one_hot": "arm.category"},
        {"product": ["rate", "orders.log1p"]},
    )
    given_ = {name: [one.get(name) for one, _ in drawn] for name in features.inputs}
    together = features.rows(given_, [which for _, which in drawn])
    assert together.shape == (len(drawn), len(features.names))
    for row, (one, which) in zip(together, drawn, strict=True):
        np.testing.assert_array_equal(row, features.matrix(one, [which])[0])


@pytest.mark.parametrize("value", [[1.0], "abc", 3.0, [[1.0], [2.0], [3.0]], ["a", "b", "c"]])
def test_rows_refuse_what_is_no_array_of_the_vocabulary(value: Any) -> None:
    with pytest.raises(FeaturesMismatch, match="category_rate"):
        compile_(RATE).rows({"category_rate": [value]}, [ARMS[0]])
