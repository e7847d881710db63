"""Self-protection: chance pauses nothing, what is surely past a threshold does."""

from __future__ import annotations

import doctest
import random

from playbooks import protection
from playbooks.protection import Outcomes, Protection, breaches, lower_bound


def rates(seen: Outcomes, **fields: object) -> list[str]:
    return [one.rate for one in breaches(Protection.model_validate({"sample": 100, **fields}), seen)]


def test_examples() -> None:
    assert doctest.testmod(protection).failed == 0


def test_each_rate_has_its_threshold() -> None:
    assert rates(Outcomes(sent=1000, delivered=1000)) == []
    assert rates(Outcomes(sent=600, failed=400)) == ["not taken by a provider, or returned"]
    assert rates(Outcomes(sent=1000, complaints=20)) == ["complaints"]
    assert rates(Outcomes(sent=1000, opt_outs=100)) == ["opt-outs"]
    assert rates(Outcomes(sent=1000, delivered=300)) == ["not known to have arrived"]
    # A channel that never says what arrived is no channel on which nothing does.
    assert rates(Outcomes(sent=1000, delivered=0)) == []
    assert rates(Outcomes(sent=1000, complaints=20), complaints=None) == []


def test_few_messages_say_nothing_and_the_raw_rate_is_not_enough() -> None:
    assert rates(Outcomes(sent=99, complaints=50)) == []
    # Above the threshold of 0.3 %, but it may well be chance.
    assert rates(Outcomes(sent=1000, complaints=5)) == []
    (one,) = breaches(Protection(sample=100), Outcomes(sent=1000, complaints=20))
    assert 0.003 < one.bound < 0.02
    assert "complaints: 20 of 1000" in str(one)


def test_the_bound_is_wrong_as_seldom_as_it_says() -> None:
    draw, wrong, looks = random.Random(7), 0, 600
    for _ in range(looks):
        hits = sum(draw.random() < 0.05 for _ in range(200))
        wrong += lower_bound(hits, 200, 0.95) > 0.05
    assert wrong / looks < 0.07


def test_what_a_provider_took_and_gave_back_counts_like_what_it_did_not_take() -> None:
    assert rates(Outcomes(sent=1_000, returned=400)) == ["not taken by a provider, or returned"]
    assert rates(Outcomes(sent=1_000, returned=100)) == []
