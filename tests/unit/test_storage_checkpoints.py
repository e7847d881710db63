"""When a log is taken over: often enough, and once more shortly before a commit would have to do it."""

from __future__ import annotations

from storage.checkpoints import LOG_PAGES, until_end


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
