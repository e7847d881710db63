"""The pace of background work: as many rows as fit into the turn, never none and never too many."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection

from storage import pace
from storage.engine import Database
from storage.pace import LONG_TURN, SHORT_TURN, Pace

MOST = 400


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'nextplay.db'}")
    yield database
    database.close()


def settled(connection: Connection, seconds: float, turn_seconds: float, row_seconds: float) -> int:
    """The rows of a turn once the pace knows work of this cost."""
    one = Pace(MOST)
    pace.allow(connection, seconds)

    def work(limit: int) -> tuple[int, None]:
        time.sleep(turn_seconds + limit * row_seconds)
        return limit, None

    for _ in range(40):
        one.turn(connection, work)
    return one.rows(connection)


def test_a_turn_without_a_limit_takes_the_most(opened: Database) -> None:
    with opened.read() as connection:
        connection.info.clear()
        assert Pace(MOST).rows(connection) == MOST


def test_slow_rows_make_small_turns_but_never_empty_ones(opened: Database) -> None:
    with opened.read() as connection:
        assert settled(connection, SHORT_TURN, 0, 0.005) == 1
        assert 2 <= settled(connection, LONG_TURN, 0, 0.002) <= 12
        pace.allow(connection, 10.0)
        assert Pace(MOST).rows(connection) == MOST


def test_what_a_turn_costs_by_itself_does_not_shrink_it(opened: Database) -> None:
    with opened.read() as connection:
        # Rows cost next to nothing here: as many as there can be.
        assert settled(connection, LONG_TURN, 0.005, 0.000_001) == MOST


def test_turns_with_little_to_do_do_not_make_the_next_ones_small(opened: Database) -> None:
    with opened.read() as connection:
        pace.allow(connection, LONG_TURN)
        one = Pace(MOST)
        before = one.rows(connection)

        def little(_: int) -> tuple[int, None]:
            time.sleep(0.005)
            return 1, None

        for _ in range(20):
            one.turn(connection, little)
        assert one.rows(connection) == before


def test_a_turn_says_whether_more_may_be_left(opened: Database) -> None:
    with opened.read() as connection:
        pace.allow(connection, SHORT_TURN)
        assert Pace(MOST).turn(connection, lambda limit: (limit, "full")) == (True, "full")
        assert Pace(MOST).turn(connection, lambda limit: (limit - 1, "short")) == (False, "short")


def test_items_are_written_once_each_in_their_order(opened: Database) -> None:
    shares: list[list[int]] = []

    def work(_: Connection, some: Sequence[int]) -> int:
        shares.append(list(some))
        time.sleep(0.0005 * len(some))
        return len(some)

    assert Pace(MOST).write(opened, range(1_000), work) == 1_000
    assert [one for share in shares for one in share] == list(range(1_000))
    assert 1_000 / MOST <= len(shares) <= 1_000
    assert max(map(len, shares)) <= MOST


def test_nothing_to_write_takes_no_turn(opened: Database) -> None:
    def never(_: Connection, _some: Sequence[int]) -> int:
        raise AssertionError("there was nothing to write")

    assert Pace(MOST).write(opened, [], never) == 0
