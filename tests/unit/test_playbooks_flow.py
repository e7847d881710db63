"""Flows that can't work are refused when they are read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from playbooks.flow import Flow
from playbooks.flow.drawing import as_data, as_mermaid
from playbooks.library.problems import found_in

END = {"kind": "end", "result": "done"}


@pytest.mark.parametrize(
    ("states", "what"),
    [
        ({"start": {"kind": "send", "next": "nowhere"}}, "there is no state 'nowhere'"),
        ({"other": END}, "there is no state 'start'"),
        ({"start": END, "lost": END}, "no path leads to the state 'lost'"),
        (
            {"start": {"kind": "wait", "duration": "P1D", "next": "start"}},
            "no path from the state 'start' comes to an end",
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


SEND = {"kind": "send", "next": "over"}


@pytest.mark.parametrize(
    ("document", "places"),
    [
        (
            {"states": {"start": {**SEND, "next": "ovr"}, "over": END}},
            {"states.start.next": "there is no state 'ovr', did you mean 'over'?"},
        ),
        (
            {
                "states": {
                    "start": {"kind": "split", "shares": {"a": 0.5, "over": 0.5}},
                    "over": END,
                },
                "exits": {"goal": {"next": "won"}},
            },
            {
                "states.start.shares.a": "there is no state 'a'; there are over, start",
                "exits.goal.next": "there is no state 'won'; there are over, start",
            },
        ),
        (
            {
                "states": {
                    "start": {"kind": "branch", "rule": "tag('a')", "then": "start", "otherwise": "over"},
                    "over": END,
                }
            },
            {"states.start": "the state 'start' comes back to itself without a wait between; put one in"},
        ),
        (
            {
                "states": {
                    "start": SEND,
                    "over": END,
                    "pause": {"kind": "wait", "duration": "P1D", "next": "over"},
                },
                "exits": {"expiry": {"after": "P9D", "next": "pause"}},
            },
            {"exits.expiry.next": "the way from 'pause' waits in 'pause'; an exit leads to an end at once"},
        ),
        (
            {
                "states": {
                    "start": {"kind": "split", "shares": {"over": 0.5, "too": 0.6}},
                    "over": END,
                    "too": END,
                }
            },
            {"states.start.split.shares": "the shares sum to 1.1, not to 1"},
        ),
        (
            {"states": {"start": {"kind": "wait", "until_time": 1200, "next": "over"}, "over": END}},
            {"states.start.wait.until_time": 'write a time of day in quotes, for example "20:00"'},
        ),
        (
            {"states": {"start": {"kind": "wait", "next": "over"}, "over": END}},
            {
                "states.start.wait": "just one of duration, until_time, until_date, best_hour is to be "
                "given, not none of them"
            },
        ),
        (
            {
                "states": {
                    "start": {"kind": "webhook", "url": "http://crm.example/x", "next": "over"},
                    "over": END,
                }
            },
            {
                "states.start.webhook.url": "what is told of users goes over https; "
                "http is for this machine only"
            },
        ),
    ],
)
def test_each_thing_wrong_is_told_at_its_place(document: dict[str, Any], places: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as refused:
        Flow.model_validate({"start": "start", **document})
    told = {one.field: one.message for one in found_in(refused.value, Flow, "flow")}
    assert told == places


def test_a_flow_is_drawn_with_every_way() -> None:
    flow = Flow.model_validate(
        {
            "start": "ask",
            "states": {
                "ask": {
                    "kind": "branch",
                    "rule": "tag('a') AND name <> \"<b>\"",
                    "then": "call",
                    "otherwise": "over",
                },
                "call": {
                    "kind": "task",
                    "title": "Call #1",
                    "due_in": "PT4H",
                    "results": {"won": "over"},
                    "on_overdue": "over",
                },
                "over": END,
            },
            "exits": {"opt_out": {"next": "over"}},
        }
    )
    assert as_mermaid(flow).splitlines() == [
        "flowchart TD",
        "    begin(( )) --> s0",
        "    s0{\"ask: branch tag('a') AND name #lt;#gt; #quot;#lt;b#gt;#quot;\"}",
        '    s1("call: task Call #35;1")',
        '    s2(["over: end done"])',
        "    s0 -->|\"tag('a') AND name #lt;#gt; #quot;#lt;b#gt;#quot;\"| s1",
        '    s0 -->|"otherwise"| s2',
        '    s1 -->|"won"| s2',
        '    s1 -->|"overdue after 4 hours"| s2',
        '    exits[/"from any state"/]',
        '    exits -.->|"opt-out"| s2',
    ]
    drawn = as_data(flow)
    assert [(one["from"], one["to"]) for one in drawn["edges"]] == [
        ("ask", "call"),
        ("ask", "over"),
        ("call", "over"),
        ("call", "over"),
    ]
    assert drawn["exits"] == [{"to": "over", "label": "opt-out"}]
    assert drawn["states"][2] == {"id": "over", "kind": "end", "says": "end done", "state": END}


def test_reentry_is_read_as_it_was_written_and_as_it_is_kept() -> None:
    base = {"start": "over", "states": {"over": END}}
    for reentry in (
        {"rule": "never"},
        {"rule": "after_gap", "gap": "P3D"},
        {"rule": "per_key", "key": "offer"},
    ):
        flow = Flow.model_validate({**base, "reentry": reentry})
        assert Flow.model_validate_json(flow.model_dump_json()) == flow
    for wrong in ({"rule": "never", "gap": "P3D"}, {"rule": "after_gap"}, {"rule": "never", "key": "offer"}):
        with pytest.raises(ValidationError, match="given with the rule"):
            Flow.model_validate({**base, "reentry": wrong})
