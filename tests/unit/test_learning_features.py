from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from learning.errors import FeaturesMismatch, PolicySpecError
from learning.feature_kinds import LARGEST, Feature
from learning.features import FeatureSet
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


def test_steps_are_climbed_and_lists_are_crossed() -> None:
    features = compile_(
        {"steps": "arm.category"},
        {"scalar": "orders"},
        {**RATE},
        {"cross": [["orders", "rate"], ["category>=DRY BN/VEG", "category>=CANDY - PACKAGED"]]},
    )
    arms = [*ARMS, arm("UNHEARD OF")]
    matrix = features.matrix({"category_rate": [1, 2, 3], "orders": 5.0}, arms)
    second, third = "category>=DRY BN/VEG", "category>=CANDY - PACKAGED"
    crossed = (f"orders*{second}", f"orders*{third}", f"rate*{second}", f"rate*{third}")
    assert features.names == (second, third, "orders", "rate", *crossed)
    assert matrix.tolist() == [
        [0, 0, 5, 1, 0, 0, 0, 0],
        [1, 0, 5, 2, 5, 0, 2, 0],
        [1, 1, 5, 3, 5, 5, 3, 3],
        [0, 0, 5, 0, 0, 0, 0, 0],
    ]


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


def valued(value: str | None) -> Arm:
    attributes = {"category": "MILK"} if value is None else {"category": "MILK", "value": value}
    return Arm(f"p/{value}", "p", "coupon", "mailbox", "notice", attributes)


def test_a_number_of_the_arm_is_the_same_for_every_user() -> None:
    features = compile_({"number": "arm.value", "scale": 0.01, "transform": ["raw", "sqrt"], "missing": True})
    matrix = features.matrix({}, [valued("400"), valued("ten"), valued(None)])
    assert features.names == ("value", "value.sqrt", "value.missing")
    assert matrix.tolist() == [[4.0, 2.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    assert features.inputs == frozenset()


def test_a_rate_is_drawn_to_what_is_usual() -> None:
    usual = {"pull": 4, "towards": 0.25}
    features = compile_(
        {"name": "took", "rate": ["taken", "shown"], **usual},
        {"name": "took_such", "rate": ["taken_of", "shown_of"], "at": "arm.category", **usual},
    )
    assert features.names == ("took", "took_such")
    assert features.inputs == {"taken", "shown", "taken_of", "shown_of"}
    told = {"taken": 3, "shown": 4, "taken_of": [0, 1, 4], "shown_of": [0, 12, 4]}
    assert features.matrix(told, ARMS).tolist() == [[0.5, 0.25], [0.5, 0.125], [0.5, 0.625]]
    nothing = {"taken": None, "shown": float("nan"), "taken_of": [-3, None, 0], "shown_of": None}
    assert features.matrix(nothing, ARMS).tolist() == [[0.25, 0.25]] * 3


def test_sums_and_products_are_made_in_the_order_in_which_they_stand() -> None:
    features = compile_(
        {"scalar": "margin"},
        {"number": "arm.value", "scale": 0.01},
        {"name": "net", "sum": {"margin": 1, "value": -2}, "least": 0.5},
        {"product": ["net", "margin"]},
        {"name": "both", "sum": {"net*margin": 1, "net": 1}},
    )
    assert features.names == ("margin", "value", "net", "net*margin", "both")
    matrix = features.matrix({"margin": 10}, [valued("300"), valued("500"), valued("1000")])
    assert matrix[:, 2:].tolist() == [[4.0, 40.0, 44.0], [0.5, 5.0, 5.5], [0.5, 5.0, 5.5]]


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
        {"name": "share", "rate": ["orders", "orders"], "pull": 1e-9, "towards": 0},
        {"name": "all", "sum": {"rate*orders": 1e9, "share": 1}},
    )
    matrix = features.matrix({"category_rate": array, "orders": scalar}, ARMS)
    assert np.isfinite(matrix).all()
    assert np.abs(matrix).max() <= LARGEST


@pytest.mark.parametrize("value", [[1.0, 2.0], [1, 2, 3, 4], 3.0, ["a", "b", "c"], [[1, 2, 3]]])
@pytest.mark.parametrize("arms", [ARMS, [ARMS[0]], [arm(None)]])
def test_an_array_of_another_shape_is_refused(value: Any, arms: list[Arm]) -> None:
    # Whatever of it the arms look at.
    with pytest.raises(FeaturesMismatch, match="category_rate"):
        compile_(RATE).matrix({"category_rate": value}, arms)


def test_a_few_arms_in_any_order_find_their_numbers_in_a_vocabulary() -> None:
    features = compile_({**RATE, "transform": ["raw", "sqrt"], "missing": True}, {"scalar": "orders"})
    arms = [ARMS[2], arm(None), ARMS[2], ARMS[0]]
    told: dict[str, list[Any]] = {
        "category_rate": [[4.0, 1.0, 9.0], None, [None, 1.0, 1.0]],
        "orders": [1, 2, 3],
    }
    first, second, third = features.matrices(told, 3, arms).tolist()
    nothing = [0.0, 0.0, 1.0]
    assert first == [[9.0, 3.0, 0.0, 1.0], [*nothing, 1.0], [9.0, 3.0, 0.0, 1.0], [4.0, 2.0, 0.0, 1.0]]
    assert second == [[*nothing, 2.0]] * 4
    assert third == [[1.0, 1.0, 0.0, 3.0], [*nothing, 3.0], [1.0, 1.0, 0.0, 3.0], [*nothing, 3.0]]


def test_a_scalar_that_is_no_number_is_refused() -> None:
    with pytest.raises(FeaturesMismatch, match="orders"):
        compile_({"scalar": "orders"}).matrix({"orders": "many"}, ARMS)


@pytest.mark.parametrize(
    ("features", "complaint"),
    [
        ([RATE, RATE], "two columns are named 'rate'"),
        ([{"product": ["rate", "orders"]}], "'rate', which is not declared above"),
        ([{"name": "net", "sum": {"margin": 1}}], "the sum names the column 'margin'"),
        ([{"name": "x", "rate": ["a", "b"], "at": "arm.colour", "pull": 1, "towards": 0}], "no vocabulary"),
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
        {"number": "value"},
        {"name": "net", "sum": {}},
        {"name": "net", "sum": {"margin": float("nan")}},
        {"name": "took", "rate": ["taken", "shown"], "pull": 0, "towards": 0.2},
        {"name": "took", "rate": ["taken", "shown"], "pull": 1, "towards": 1.2},
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


@given(
    st.lists(st.tuples(ROW, st.sampled_from([*ARMS, arm(None), arm("UNKNOWN"), valued("300")])), max_size=6)
)
def test_rows_of_many_users_are_those_of_each(drawn: list[tuple[dict[str, Any], Arm]]) -> None:
    features = compile_(
        {**RATE, "transform": ["raw", "sqrt"], "missing": True, "cap": 50},
        {"scalar": "orders", "transform": ["log1p"], "missing": True},
        {"one_hot": "arm.category"},
        {"product": ["rate", "orders.log1p"]},
        {"number": "arm.value", "scale": 0.01},
        {
            "name": "share",
            "rate": ["category_rate", "category_rate"],
            "at": "arm.category",
            "pull": 2,
            "towards": 0.3,
        },
        {"name": "of_orders", "rate": ["orders", "orders"], "pull": 2, "towards": 0.3},
        {"name": "net", "sum": {"rate": 0.3, "value": -1, "share": 0.7}, "least": -0.5},
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
