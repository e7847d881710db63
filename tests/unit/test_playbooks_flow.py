"""Flows that can't work are refused when they are read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from playbooks.flow import Flow

END = {"kind": "end", "result": "done"}


@pytest.mark.parametrize(
    ("states", "what"),
    [
        ({"start": {"kind": "send", "next": "nowhere"}}, "leads to 'nowhere', which does not exist"),
        ({"other": END}, "the start state 'start' is not among the states"),
        ({"start": END, "lost": END}, "no path leads to the states"),
        (
            {"start": {"kind": "wait", "duration": "P1D", "next": "start"}},
            "no path from the states .* comes to an end",
        ),
        ({"start": {"kind": "wait", "duration": "PT0S", "next": "over"}, "over": END}, "longer than nothing"),
        ({"start": {"kind": "dance", "next": "over"}, "over": END}, "Input tag 'dance' found"),
        ({"start": {**END, "colour": "red"}}, "Extra inputs"),
        ({}, "at least 1 item"),
    ],
)
def test_a_flow_that_cannot_work_is_refused(states: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        Flow.model_validate({"start": "start", "states": states})


def test_a_loop_with_a_way_out_is_sound() -> None:
    flow = Flow.model_validate(
        {
            "start": "ask",
            "states": {
                "ask": {
                    "kind": "wait_for_event",
                    "event": "order_completed",
                    "timeout": "P1D",
                    "on_event": "over",
                    "on_timeout": "again",
                },
                "again": {"kind": "send", "next": "ask"},
                "over": END,
            },
        }
    )
    assert set(flow.states) == {"ask", "again", "over"}
