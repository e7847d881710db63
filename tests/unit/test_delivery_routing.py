"""How many facts a turn of routing takes."""

from __future__ import annotations

import pytest

from delivery.routing import fitting

RUNS = {"ann": 3, "bob": 2, "cay": 9}


@pytest.mark.parametrize(
    ("users", "limit", "number"),
    [
        (["ann", "bob", "ann"], 5, 3),
        (["ann", "bob", "cay"], 5, 2),
        (["ann", "bob"], 4, 1),
        (["dan", "dan", "cay"], 8, 2),
        # One is taken however many wait for it, or nothing ever would be.
        (["cay", "dan"], 1, 1),
        ([], 5, 0),
    ],
)
def test_facts_are_taken_up_to_as_many_runs(users: list[str], limit: int, number: int) -> None:
    assert fitting([[user] for user in users], RUNS, limit) == number


def test_a_person_of_several_profiles_counts_with_all_their_runs() -> None:
    assert fitting([["dan"], ["ann", "bob"], ["bob"]], RUNS, 4) == 1
