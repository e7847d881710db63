"""Features as the server replied: where they are, and that asking many is asking each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from feature_repo.encoding import FLOAT, INT, Seen
from feature_repo.undecoded import Places, Undecoded, columns_of


def number(value: int) -> bytes:
    return bytes((INT, value))


def test_what_is_too_old_or_has_no_time_is_not_known() -> None:
    # The population's views are replied to apart from the user's; each has its number in the service.
    places = Places([(5, [(0, 0, ["a", "b"]), (2, 3, ["c"])]), (2, [(1, 0, ["d"])])])
    assert places.stamps == [0, 5, 3]
    fields: list[bytes | None] = [b"t", number(1), number(2), None, number(3), b"t", number(4)]
    every = Undecoded(places.known([b"t"] * 7, ()), fields, Seen())
    assert dict(every) == {"a": 1, "b": 2, "c": 3, "d": 4}
    some = Undecoded(places.known(fields, ("b",)), fields, Seen())
    assert dict(some) == {"a": 1, "b": None, "c": None, "d": 4}
    assert (some.get("b", 7), some.get("e", 7), "b" in some, len(some)) == (None, 7, True, 4)


def test_of_many_rows_each_value_is_the_one_that_it_gives_by_itself() -> None:
    seen = Seen()
    share = bytes((FLOAT, *bytes(6), 0xE0, 0x3F))
    rows: list[Mapping[str, Any]] = [
        Undecoded({"a": 0, "b": 1, "c": None}, [number(1), share], seen),
        Undecoded({"a": 1, "b": 0, "c": 0}, [None, b""], seen),
        {"a": 5, "d": "x"},
    ]
    found = columns_of(rows, ["a", "b", "c", "d"])
    assert found == {"a": [1, None, 5], "b": [0.5, None, None], "c": [None] * 3, "d": [None, None, "x"]}
    assert found == {name: [row.get(name) for row in rows] for name in found}
    assert columns_of([], ["a"]) == {"a": []}
