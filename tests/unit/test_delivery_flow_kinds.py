"""Every kind of state: where a run goes from it, when, and what is done on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from audiences.rules import Schema, Type, compile_one, parse
from delivery.causes import Cause, Drawn, Due, Happened, OptedOut, TakenOut, TaskDone
from delivery.compiled import CompiledFlow, compile_flow
from delivery.flow import Advanced, advance
from delivery.models import AskAgain, CallWebhook, Enrolment, GivePoints, OpenTask, SendMessage, Status
from delivery.plans import condition
from delivery.testing import arms_of, version_body
from delivery.view import View
from playbooks.flow import Flow

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LATER = NOON + 400 * DAY
BERLIN = ZoneInfo("Europe/Berlin")
ARMS = arms_of(version_body())
SCHEMA = Schema({"orders_4w": Type.NUMBER, "renewal_on": Type.TIMESTAMP})
ENDS = {name: {"kind": "end", "result": name} for name in ("done", "left")}


def compiled(states: Mapping[str, Any], exits: Mapping[str, Any] | None = None) -> CompiledFlow:
    used = {name: one for name, one in ENDS.items() if repr(name) in repr([states, exits])}
    flow = {"start": next(iter(states)), "states": {**states, **used}, "exits": exits or {}}
    return compile_flow(
        Flow.model_validate(flow),
        lambda state: condition(state.where, state.event, ["category"]),
        lambda text: compile_one([parse(text, SCHEMA)]),
        playbook="coupons",
        goal=(
            "order_completed",
            condition("list_contains(event.categories, arm.category)", "order_completed", ["category"]),
        ),
    )


def begun(flow: CompiledFlow, user: str = "ann") -> Enrolment:
    return Enrolment("e", user, "coupons", 1, "e", ARMS["milk"], flow.start, NOON, NOON, started_at=NOON)


def run(flow: CompiledFlow, *causes: Cause, view: View | None = None, user: str = "ann") -> Advanced:
    """Begin a run and apply causes, a long time later."""
    enrolment = begun(flow, user)
    advanced = Advanced(enrolment)
    for cause in (Due(), *causes):
        advanced = advance(flow, advanced.enrolment, cause, LATER, view or View())
    return advanced


@pytest.mark.parametrize(
    ("wait", "view", "due_at"),
    [
        ({"until_time": "20:00"}, View(BERLIN), NOON + 7 * HOUR),
        ({"until_time": "20:00"}, View(), NOON + 8 * HOUR),
        # It is noon: of the same time the next day's.
        ({"until_time": "12:00"}, View(), NOON + DAY),
        ({"best_hour": {"otherwise": "18:00"}}, View(), NOON + 6 * HOUR),
        ({"best_hour": {"otherwise": "18:00"}}, View(best_hour=time(7)), NOON + 19 * HOUR),
        (
            {"until_date": {"attribute": "renewal_on", "offset": "-P7D", "otherwise": "left"}},
            View(BERLIN, {"renewal_on": datetime(2026, 4, 10, tzinfo=UTC)}),
            datetime(2026, 4, 3, 7, tzinfo=UTC),
        ),
    ],
)
def test_a_wait_ends_at_the_moment_it_names(wait: dict[str, Any], view: View, due_at: datetime) -> None:
    flow = compiled({"wait": {"kind": "wait", **wait, "next": "done"}})
    assert flow.asks
    rests = run(flow, view=view).enrolment
    assert (rests.state, rests.due_at) == ("wait", due_at)
    ended = advance(flow, rests, Due(), due_at, view).enrolment
    assert (ended.result, ended.entered_at) == ("done", due_at)


def test_twenty_past_two_on_the_day_it_is_skipped_comes_an_hour_later() -> None:
    flow = compiled({"wait": {"kind": "wait", "until_time": "02:20", "next": "done"}})
    before = datetime(2026, 3, 28, 20, tzinfo=UTC)
    enrolment = Enrolment("e", "ann", "coupons", 1, "e", ARMS["milk"], "wait", before, before)
    rests = advance(flow, enrolment, Due(), LATER, View(BERLIN)).enrolment
    assert rests.due_at == datetime(2026, 3, 29, 1, 20, tzinfo=UTC)


@pytest.mark.parametrize("value", [None, "soon", datetime(2026, 3, 1, tzinfo=UTC)])
def test_a_date_that_is_none_or_past_is_not_waited_for(value: Any) -> None:
    until = {"attribute": "renewal_on", "otherwise": "left"}
    flow = compiled({"wait": {"kind": "wait", "until_date": until, "next": "done"}})
    assert run(flow, view=View(values={"renewal_on": value})).enrolment.result == "left"


def test_a_branch_goes_by_what_is_true_of_the_user_now() -> None:
    flow = compiled(
        {
            "ask": {
                "kind": "branch",
                "rule": "orders_4w >= 2 AND tag('vip')",
                "then": "done",
                "otherwise": "left",
            }
        }
    )
    for view, result in (
        (View(values={"orders_4w": 3}, tags={"vip"}), "done"),
        (View(values={"orders_4w": 3}), "left"),
        (View(values={"orders_4w": None}, tags={"vip"}), "left"),
    ):
        assert run(flow, view=view).enrolment.result == result


def test_a_split_sends_each_user_the_same_way_and_shares_as_it_says() -> None:
    flow = compiled({"split": {"kind": "split", "shares": {"done": 0.3, "left": 0.7}}})
    ways = [run(flow, user=f"user{number}").enrolment.result for number in range(2000)]
    assert ways == [run(flow, user=f"user{number}").enrolment.result for number in range(2000)]
    # Five standard deviations.
    assert abs(Counter(ways)["done"] - 600) < 103


def test_a_task_is_opened_and_its_result_leads_on() -> None:
    task = {
        "kind": "task",
        "title": "Call",
        "due_in": "PT4H",
        "results": {"won": "done"},
        "on_overdue": "left",
    }
    flow = compiled({"call": task})
    opened = run(flow)
    assert opened.effects == (OpenTask("e:1:0", NOON, "call", NOON + 4 * HOUR, NOON + 4 * HOUR),)
    won = advance(flow, opened.enrolment, TaskDone("won", NOON + HOUR), LATER).enrolment
    assert (won.result, won.entered_at) == ("done", NOON + HOUR)
    for late in (Due(), TaskDone("won", NOON + 4 * HOUR)):
        assert advance(flow, opened.enrolment, late, LATER).enrolment.result == "left"
    assert advance(flow, opened.enrolment, TaskDone("lost", NOON + HOUR), LATER).enrolment is opened.enrolment


def test_points_webhooks_and_other_contents_are_wished_for() -> None:
    flow = compiled(
        {
            "give": {"kind": "score", "score": "lead", "points": -5, "next": "tell"},
            "tell": {"kind": "webhook", "url": "https://crm.example/hook", "next": "send"},
            "send": {"kind": "send", "channel": "sms", "content": "short", "next": "done"},
        }
    )
    assert run(flow).effects == (
        GivePoints("e:1:0", NOON, "lead", -5),
        CallWebhook("e:1:1", NOON, "tell"),
        SendMessage("e:1:2", NOON, "sms", "short", "send"),
    )


DECIDE = {
    "wait": {"kind": "wait", "duration": "P1D", "next": "again"},
    "again": {"kind": "decide", "next": "send", "on_nothing": "left"},
    "send": {"kind": "send", "next": "look"},
    "look": {
        "kind": "wait_for_event",
        "event": "viewed",
        "timeout": "P1D",
        "on_event": "done",
        "on_timeout": "left",
    },
}


def test_deciding_again_goes_on_with_what_is_drawn() -> None:
    flow = compiled(DECIDE)
    asked = run(flow, Due())
    assert asked.effects == (AskAgain("e:2:0", NOON + DAY),)
    drawn = advance(flow, asked.enrolment, Drawn("d2", ARMS["bread"]), LATER)
    assert (drawn.enrolment.arm, drawn.enrolment.decision_id) == (ARMS["bread"], "d2")
    assert drawn.effects == (SendMessage("e:3:0", NOON + DAY, "memory", "hello", "send"),)
    assert drawn.enrolment.due_at == NOON + 2 * DAY
    nothing = advance(flow, asked.enrolment, Drawn("d2", None), LATER).enrolment
    assert (nothing.result, nothing.decision_id) == ("left", "e")


def test_an_event_waits_until_the_policy_has_answered() -> None:
    flow = compiled(DECIDE)
    viewed = Happened("viewed", NOON + DAY + HOUR, {})
    asked = run(flow, viewed)
    assert asked.again
    assert isinstance(asked.effects[-1], AskAgain)
    drawn = advance(flow, asked.enrolment, Drawn("d2", ARMS["milk"]), LATER)
    assert not drawn.again
    assert advance(flow, drawn.enrolment, viewed, LATER).enrolment.result == "done"


WAIT = {"wait": {"kind": "wait", "duration": "P9D", "next": "done"}}


@pytest.mark.parametrize(
    ("exits", "cause", "at"),
    [
        (
            {"goal": {"next": "left"}},
            Happened("order_completed", NOON + DAY, {"categories": ["milk"]}),
            NOON + DAY,
        ),
        ({"opt_out": {"next": "left"}}, OptedOut("newsletter", NOON + DAY), NOON + DAY),
        ({"opt_out": {"purposes": ["sale"], "next": "left"}}, OptedOut("any", NOON + DAY), NOON + DAY),
        ({"expiry": {"after": "P2D", "next": "left"}}, Due(), NOON + 2 * DAY),
        (
            {"expiry": {"after": "P2D", "next": "left"}},
            Happened("viewed", NOON + 5 * DAY, {}),
            NOON + 2 * DAY,
        ),
    ],
)
def test_an_exit_ends_a_run_from_any_state(exits: dict[str, Any], cause: Cause, at: datetime) -> None:
    left = run(compiled(WAIT, exits), cause).enrolment
    assert (left.status, left.result, left.entered_at) == (Status.ENDED, "left", at)


@pytest.mark.parametrize(
    ("exits", "cause"),
    [
        ({"goal": {"next": "left"}}, Happened("order_completed", NOON + DAY, {"categories": ["bread"]})),
        ({"goal": {"next": "left"}}, Happened("order_completed", NOON - DAY, {"categories": ["milk"]})),
        ({"opt_out": {"purposes": ["sale"], "next": "left"}}, OptedOut("newsletter", NOON + DAY)),
        ({"opt_out": {"next": "left"}}, OptedOut("newsletter", NOON - DAY)),
    ],
)
def test_what_is_no_exit_leaves_the_run_as_it_is(exits: dict[str, Any], cause: Cause) -> None:
    waiting = run(compiled(WAIT, exits), cause).enrolment
    assert (waiting.state, waiting.revision) == ("wait", 1)


def test_a_rule_ends_a_run_when_it_would_go_on() -> None:
    exits = {"rule": {"when": "tag('complained')", "next": "left"}}
    flow = compiled(
        {
            "wait": {"kind": "wait", "duration": "P9D", "next": "send"},
            "send": {"kind": "send", "next": "done"},
        },
        exits,
    )
    waiting = run(flow).enrolment
    complained = advance(flow, waiting, Due(), LATER, View(tags={"complained"}))
    assert (complained.enrolment.result, complained.effects) == ("left", ())
    assert len(advance(flow, waiting, Due(), LATER).effects) == 1


def test_a_run_is_ended_by_hand_wherever_it_is() -> None:
    ended = run(compiled(WAIT), TakenOut("by_hand", NOON + HOUR)).enrolment
    assert (ended.status, ended.result, ended.entered_at) == (Status.ENDED, "by_hand", NOON + HOUR)
    assert advance(compiled(WAIT), ended, TakenOut("by_hand", LATER), LATER).enrolment is ended
