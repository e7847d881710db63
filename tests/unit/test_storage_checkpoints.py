"""When a log is taken over: often enough, and once more shortly before a commit would have to do it."""

from __future__ import annotations

from storage.checkpoints import LOG_PAGES, paced, until_end


def test_a_log_that_nearly_ends_is_taken_over_shortly_before() -> None:
    rate = 8_000.0
    wait = until_end(LOG_PAGES - 4_000, rate)
    left = LOG_PAGES - 4_000 + rate * wait
    assert LOG_PAGES - 500 < left < LOG_PAGES
    # So near that nothing but hurry helps.
    assert 0 < until_end(LOG_PAGES - 10, rate) < 0.05


def test_nobody_hurries_where_the_log_does_not_grow_or_commits_see_to_it() -> None:
    assert until_end(LOG_PAGES - 1, 0.0) == until_end(LOG_PAGES, 8_000.0) >= 1.0
    assert until_end(0, 1.0) > 1.0


def test_the_more_there_was_the_sooner_it_is_looked_at_again() -> None:
    busy, _ = paced(1.0, 1.0, 10_000, 2_000)
    assert busy == 0.5
    calm, wait = paced(0.25, 0.25, 10, 2_000)
    assert calm == wait == 0.5


def test_a_log_that_a_commit_takes_over_goes_on_at_its_pace() -> None:
    # It was looked at in a hurry, for its end was near; a commit came first.
    assert paced(0.25, 0.02, 0, -1) == (0.25, 0.25)
