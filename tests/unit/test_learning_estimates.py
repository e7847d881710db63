"""Claims of evaluations: when their policy decides, and what the record says of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from learning.challengers.estimates import Came, Estimate, Span, alike, in_charge_after
from learning.challengers.models import Charge
from learning.challengers.record import record_of

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def charge(number: int, policy: str, former: str, since: datetime) -> Charge:
    return Charge("calm", number, policy, former, since, "promoted", f"change-{number}")


CHARGES = [
    charge(1, "bold", "calm", START + 10 * DAY),
    # Taken back within minutes.
    charge(2, "calm", "bold", START + 10 * DAY + HOUR / 4),
    charge(3, "bold", "calm", START + 20 * DAY),
    charge(4, "calm", "bold", START + 22 * DAY),
]


@pytest.mark.parametrize(
    ("policy", "at", "since", "until"),
    [
        # In charge when it was evaluated: until somebody else is, and no longer than a fortnight.
        ("calm", 0, 0, 10),
        ("calm", 30, 30, 44),
        ("calm", 21, 22, 36),
        # Taken back at once is not in charge; the second time it is.
        ("bold", 0, 20, 22),
        ("bold", 21, 21, 22),
        ("bold", 23, None, None),
        ("odd", 0, None, None),
    ],
)
def test_a_claim_is_scored_on_the_first_decisions_of_its_policy(
    policy: str, at: int, since: int | None, until: int | None
) -> None:
    found = in_charge_after(policy, START + at * DAY, "calm", CHARGES, 14 * DAY)
    if since is None or until is None:
        assert found is None
    else:
        assert found == (START + since * DAY, START + until * DAY)


def test_figures_are_alike_when_their_difference_may_be_nothing() -> None:
    assert alike(Span(0.3, 0.2, 0.4), Span(0.42, 0.32, 0.52))
    assert not alike(Span(0.3, 0.25, 0.35), Span(0.42, 0.38, 0.46))


def test_the_record_counts_what_is_known() -> None:
    promised = Estimate(
        "1", START, "bold", "bold@1", "logged", "calm", 9, 100, 0.9, "sndr", Span(0.5, 0.4, 0.6),
        Span(0.1, 0.0, 0.2), "not distinguishable",
    )  # fmt: skip
    came = Came(80, 80, Span(0.4, 0.3, 0.5), True, Span(0.05, -0.1, 0.2), True)
    lower = Came(80, 0, Span(0.2, 0.1, 0.3), False)
    several = [msgspec.structs.replace(promised, came=one) for one in (None, came, lower)]
    assert record_of([], several).says == (
        "of 2 evaluations with 90% intervals the value of 1 held (-40% on average); of 1 lifts 1 held"
    )
    assert several[0].digest == several[1].digest
    assert several[0].digest != msgspec.structs.replace(promised, confidence=0.95).digest
