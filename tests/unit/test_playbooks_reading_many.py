"""Features of many users, read as records keep those of one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from playbooks.eligible import recorded
from playbooks.reading_many import read_many

MOMENT = datetime(2026, 3, 2, tzinfo=UTC)


def test_each_value_is_the_one_that_is_recorded_of_the_user_alone() -> None:
    chance = np.random.default_rng(7)
    users: list[dict[str, Any]] = [
        {
            "orders": number if number % 3 else None,
            "city": "Rome",
            "since": MOMENT,
            "rates": chance.normal(size=3).astype(np.float32),
            "likes": (chance.normal(size=3) * 1e9).astype(np.float32),
            "wide": chance.normal(size=5),
            # Of other users it is another shape, or not there.
            "odd": None if number == 1 else np.ones(2 + number % 2, np.float32) / 3,
        }
        for number in range(6)
    ]
    users[2]["likes"] = np.array([np.nan, np.inf, 0.0], np.float32)
    names = [*users[0], "unknown"]
    found = read_many(users, names)
    assert list(found.recorded) == names
    each = [{name: recorded(one.get(name)) for name in names} for one in users]
    assert str(found.of_each()) == str(each)
    for name in names:
        assert str(found.recorded[name]) == str([one[name] for one in each])
    assert found.arrays.keys() == {"rates", "likes", "wide"}
    for places in ([4, 1], [0, 1, 2, 3, 4, 5]):
        some = found.of(places)
        assert list(some) == names
        for name, values in some.items():
            assert isinstance(values, np.ndarray) == (name in found.arrays)
            told = values.tolist() if isinstance(values, np.ndarray) else values
            assert str(told) == str([each[place][name] for place in places])
    nobody = read_many([], ["orders"])
    assert (nobody.recorded, nobody.of([]), nobody.of_each()) == ({"orders": []}, {"orders": []}, [])
    assert read_many(users, []).of_each() == [{}] * 6


def test_of_an_array_seven_digits_are_recorded_whatever_is_in_it() -> None:
    odd = [0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, 1e-310, 123456789.0, -0.000123456789]
    told = "[0.0, -0.0, nan, inf, -inf, 5e-324, 1e-310, 123456800.0, -0.0001234568]"
    assert str(recorded(np.array(odd))) == told
    assert str(recorded(np.zeros((2, 1), np.float32))) == "[[0.0], [0.0]]"
