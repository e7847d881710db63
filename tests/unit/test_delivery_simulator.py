"""What a flow would do, told as a timeline."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from delivery.plans import Plan
from delivery.simulator import MOST_MOVES, Given, simulate
from delivery.testing import arms_of, version_body
from delivery.view import View

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
END = {"kind": "end", "result": "done"}


def told(flow: Mapping[str, Any], *given: Given, view: View | None = None) -> list[str]:
    body = version_body(flow)
    lines = simulate(Plan.of(body, 1), arms_of(body)["milk"], "ann", NOON, view or View(), given)
    return [f"{line.at:%m-%d %H:%M} {line.kind}: {line.text}" for line in lines]


def test_the_timeline_of_a_run_with_what_happens_meanwhile() -> None:
    flow = {
        "start": "give",
        "states": {
            "give": {"kind": "issue", "next": "evening"},
            "evening": {"kind": "wait", "until_time": "20:00", "next": "again"},
            "again": {"kind": "decide", "next": "send", "on_nothing": "end"},
            "send": {"kind": "send", "next": "call"},
            "call": {
                "kind": "task",
                "title": "Call",
                "due_in": "PT4H",
                "results": {"won": "goal"},
                "on_overdue": "end",
            },
            "goal": {"kind": "goal", "next": "end"},
            "end": END,
        },
        "exits": {"opt_out": {"next": "end"}},
    }
    viewed = Given(NOON + timedelta(hours=1), event="viewed")
    won = Given(NOON + timedelta(hours=9), task="won")
    assert told(flow, won, viewed) == [
        "03-02 12:00 effect: a coupon is issued",
        "03-02 12:00 waits: waits in 'evening' (wait) until 2026-03-02 20:00:00Z",
        "03-02 13:00 given: the user does viewed",
        "03-02 13:00 given: changes nothing for this run",
        "03-02 20:00 effect: the policy is asked again; say it draws the same variant",
        "03-02 20:00 effect: the content 'hello' is sent on 'memory', if nothing stops it",
        "03-02 20:00 effect: a task is opened: task Call, due 2026-03-03 00:00:00Z",
        "03-02 20:00 waits: waits in 'call' (task Call) until 2026-03-03 00:00:00Z",
        "03-02 21:00 given: the task is done: won",
        "03-02 21:00 effect: the goal is noted: the coupon counts as used",
        "03-02 21:00 ends: ends in 'end': done",
    ]
    assert (
        told(flow, Given(NOON + timedelta(hours=2), opt_out="news"))[-1]
        == "03-02 14:00 ends: ends in 'end': done"
    )


def test_a_flow_that_goes_round_is_shown_so_far() -> None:
    flow = {
        "start": "wait",
        "states": {
            "wait": {
                "kind": "wait_for_event",
                "event": "x",
                "timeout": "P1D",
                "on_event": "end",
                "on_timeout": "send",
            },
            "send": {"kind": "send", "next": "wait"},
            "end": END,
        },
    }
    lines = told(flow)
    assert lines[-1].endswith("and so on: the rest is not shown")
    assert len(lines) == 2 * MOST_MOVES
