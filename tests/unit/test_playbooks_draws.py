"""Draws that are hashes."""

from __future__ import annotations

import doctest

import numpy as np

from playbooks import draws
from playbooks.draws import draw_of, pick, share_of


def test_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(draws).attempted >= 1
    assert doctest.testmod(draws).failed == 0


def test_a_request_has_the_draw_it_always_had() -> None:
    # Changing this value would make every recorded decision disagree with its replay.
    assert draw_of("seed", "user", "home", "key") == 0.805564953439833


def test_shares_are_spread_evenly_and_purposes_are_independent() -> None:
    users = [str(number) for number in range(20_000)]
    plain = np.array([share_of(("salt", user)) for user in users])
    other = np.array([share_of(("salt", user), b"holdout") for user in users])
    for shares in (plain, other):
        counts, _ = np.histogram(shares, bins=20, range=(0, 1))
        # Chi-squared with 19 degrees: 43.8 is passed once in a thousand; these shares never change.
        assert ((counts - 1000) ** 2 / 1000).sum() < 43.8
    assert abs(np.corrcoef(plain, other)[0, 1]) < 0.03


def test_what_is_drawn_is_where_the_sum_of_shares_passes_the_draw() -> None:
    chance = np.random.default_rng(3)
    vectors = chance.random((500, 9)) * (chance.random((500, 9)) < 0.5)
    vectors[:, 4] += 0.01
    vectors /= vectors.sum(axis=1, keepdims=True)
    # At the very end of [0, 1) a sum of shares may lie below the draw.
    drawn = np.where(chance.random(500) < 0.2, np.nextafter(1.0, 0.0), chance.random(500))
    passed = (np.cumsum(vectors, axis=1) <= drawn[:, None]).sum(axis=1)
    last = [int(np.flatnonzero(vector)[-1]) for vector in vectors]
    picked = [pick(vector.tolist(), draw) for vector, draw in zip(vectors, drawn.tolist(), strict=True)]
    assert picked == np.minimum(passed, last).tolist()
    assert (passed == 9).any()
