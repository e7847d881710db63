"""Ids that sort by time."""

from __future__ import annotations

import doctest
import uuid
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from storage import ids
from storage.ids import new_id, new_ids, time_of

NOW = datetime(2026, 3, 2, 9, 0, 0, 123_456, tzinfo=UTC)


def test_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(ids).failed == 0


def test_ids_of_one_moment_are_of_its_millisecond_and_sort_as_they_were_made() -> None:
    made = [new_id(NOW), *new_ids(NOW, 500), new_id(NOW)]
    assert len(set(made)) == 502
    # Their count begins again after 2^26, which a run of 502 seldom meets.
    assert sum(one > two for one, two in pairwise(made)) <= 1
    for one in made:
        parsed = uuid.UUID(one)
        assert (parsed.version, parsed.variant, str(parsed)) == (7, uuid.RFC_4122, one)
        assert time_of(one) == NOW.replace(microsecond=123_000)
    # What is not counted is drawn for each.
    assert len({one[-12:] for one in made}) == 502
    assert new_ids(NOW, 0) == []


def test_later_ids_sort_after_earlier_ones() -> None:
    moments = [NOW + timedelta(milliseconds=number) for number in range(50)]
    made = [one for moment in moments for one in new_ids(moment, 1)]
    assert made == sorted(made)
