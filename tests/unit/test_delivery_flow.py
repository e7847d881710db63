"""The flow interpreter: which state follows, when, with which effects."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.causes import Cause, Due, Happened
from delivery.compiled import CompiledFlow, compile_flow
from delivery.errors import FlowBroken
from delivery.flow import advance
from delivery.models import Effect, Enrolment, IssueCoupon, MarkUsed, SendMessage, SetTag, Status
from delivery.plans import condition
from delivery.testing import COUPON_FLOW, arms_of, version_body
from playbooks.flow import Flow, WaitForEvent

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
LATER = NOON + 400 * DAY
MILK = {"categories": ["milk"]}


def compiled(flow: Mapping[str, Any]) -> CompiledFlow:
    return compile_flow(
        Flow.model_validate(flow), lambda state: condition(state.where, state.event, ["category"])
    )


def begun(flow: CompiledFlow, at: datetime = NOON) -> Enrolment:
    arm = arms_of(version_body())["milk"]
    return Enrolment("e", "ann", "coupons", 1, "e", arm, flow.start, at, at)


def ordered(at: datetime, properties: Mapping[str, Any] = MILK) -> Happened:
    return Happened("order_completed", at, properties)


COUPONS = compiled(COUPON_FLOW)
WAITING = advance(COUPONS, begun(COUPONS), Due(), NOON).enrolment


def test_runs_through_immediate_states_until_one_waits() -> None:
    advanced = advance(COUPONS, begun(COUPONS), Due(), LATER)
    assert advanced.effects == (
        IssueCoupon("e:1:0", NOON, "issue"),
        SendMessage("e:1:1", NOON, "memory", "hello", "send"),
    )
    after = advanced.enrolment
    assert (after.state, after.entered_at, after.due_at) == ("wait", NOON, NOON + 14 * DAY)
    assert (after.waiting_for, after.revision, after.status) == ("order_completed", 1, Status.ACTIVE)


def test_an_event_that_fits_ends_the_wait_when_it_happened() -> None:
    advanced = advance(COUPONS, WAITING, ordered(NOON + DAY), LATER)
    assert advanced.effects == (MarkUsed("e:2:0", NOON + DAY),)
    after = advanced.enrolment
    assert (after.status, after.result, after.entered_at) == (Status.ENDED, "used", NOON + DAY)
    assert after.due_at is None
    assert after.waiting_for is None


@pytest.mark.parametrize(
    ("occurred_at", "result"),
    [
        (NOON - TICK, None),
        (NOON, "used"),
        (NOON + 14 * DAY - TICK, "used"),
        (NOON + 14 * DAY, "expired"),
        (NOON + 15 * DAY, "expired"),
    ],
)
def test_a_state_takes_events_from_its_entry_up_to_its_due_time(
    occurred_at: datetime, result: str | None
) -> None:
    assert advance(COUPONS, WAITING, ordered(occurred_at), LATER).enrolment.result == result


@pytest.mark.parametrize(
    "cause",
    [
        Happened("viewed", NOON + DAY, MILK),
        ordered(NOON + DAY, {"categories": ["bread"]}),
        ordered(NOON + DAY, {"categories": "milk"}),
        ordered(NOON + DAY, {"categories": None}),
        ordered(NOON + DAY, {}),
    ],
)
def test_other_events_leave_the_enrolment_as_it_is(cause: Cause) -> None:
    advanced = advance(COUPONS, WAITING, cause, LATER)
    assert advanced.enrolment is WAITING
    assert advanced.effects == ()


def test_nothing_is_due_before_its_time_and_nothing_wakes_what_has_ended() -> None:
    assert advance(COUPONS, WAITING, Due(), NOON + 14 * DAY - TICK).enrolment is WAITING
    ended = advance(COUPONS, WAITING, Due(), NOON + 14 * DAY).enrolment
    assert ended.result == "expired"
    for cause in (Due(), ordered(NOON + 20 * DAY)):
        assert advance(COUPONS, ended, cause, LATER).enrolment is ended


def test_a_timeout_counts_from_the_due_time_however_late_it_is_noticed() -> None:
    flow = compiled(
        {
            "start": "first",
            "states": {
                "first": {"kind": "wait", "duration": "P1D", "next": "second"},
                "second": {"kind": "wait", "duration": "P1D", "next": "done"},
                "done": {"kind": "end", "result": "done"},
            },
        }
    )
    enrolment = begun(flow)
    for expected in (NOON + DAY, NOON + 2 * DAY, None):
        enrolment = advance(flow, enrolment, Due(), LATER).enrolment
        assert enrolment.due_at == expected
    assert enrolment.entered_at == NOON + 2 * DAY


def test_an_event_lets_every_wait_end_that_was_over_when_it_happened() -> None:
    flow = compiled(
        {
            "start": "pause",
            "states": {
                "pause": {"kind": "wait", "duration": "P1D", "next": "mark"},
                "mark": {"kind": "tag", "tag": "paused", "expires_after": "P2D", "next": "wait"},
                "wait": {
                    "kind": "wait_for_event",
                    "event": "order_completed",
                    "timeout": "P1D",
                    "on_event": "goal",
                    "on_timeout": "late",
                },
                "goal": {"kind": "goal", "next": "won"},
                "won": {"kind": "end", "result": "won"},
                "late": {"kind": "end", "result": "late"},
            },
        }
    )
    won = advance(flow, begun(flow), ordered(NOON + 1.5 * DAY), LATER)
    assert won.enrolment.result == "won"
    assert won.enrolment.revision == 1
    assert won.effects == (
        SetTag("e:1:0", NOON + DAY, "paused", NOON + 3 * DAY),
        MarkUsed("e:1:1", NOON + 1.5 * DAY),
    )
    late = advance(flow, begun(flow), ordered(NOON + 2 * DAY), LATER)
    assert late.enrolment.result == "late"
    assert late.enrolment.entered_at == NOON + 2 * DAY


def test_an_event_from_the_future_is_taken_to_happen_now() -> None:
    after = advance(COUPONS, WAITING, ordered(NOON + 2 * DAY), NOON + DAY).enrolment
    assert (after.result, after.entered_at) == ("used", NOON + DAY)


def test_a_flow_that_can_not_go_on_says_why() -> None:
    lost = msgspec.structs.replace(WAITING, state="gone")
    with pytest.raises(FlowBroken, match="no state 'gone'"):
        advance(COUPONS, lost, Due(), LATER)
    with pytest.raises(FlowBroken, match="where nothing is waited for"):
        advance(COUPONS, msgspec.structs.replace(WAITING, state="send"), Due(), LATER)
    endless = compiled(
        {
            "start": "wait",
            "states": {
                "wait": {"kind": "wait", "duration": "P900000000D", "next": "end"},
                "end": {"kind": "end", "result": "never"},
            },
        }
    )
    with pytest.raises(FlowBroken, match="9999"):
        advance(endless, begun(endless), Due(), LATER)


def test_states_that_follow_each_other_without_end_are_found_out() -> None:
    circle = Flow.model_construct(
        start="a",
        states={
            name: Flow.model_validate(
                {
                    "start": "t",
                    "states": {
                        "t": {"kind": "tag", "tag": name, "next": "e"},
                        "e": {"kind": "end", "result": "r"},
                    },
                }
            )
            .states["t"]
            .model_copy(update={"next": other})
            for name, other in (("a", "b"), ("b", "a"))
        },
    )
    flow = compile_flow(circle, lambda _: None)
    with pytest.raises(FlowBroken, match="without end"):
        advance(flow, begun(flow), Due(), LATER)


# Random flows: every state but the last has an exit forward, so all come to an end; events may lead back.

_EVENTS = ["order_completed", "viewed"]


@st.composite
def flows(draw: st.DrawFn) -> CompiledFlow:
    size = draw(st.integers(1, 6))
    hours = st.integers(1, 72).map(lambda number: f"PT{number}H")
    states: dict[str, dict[str, Any]] = {f"s{size}": {"kind": "end", "result": "done"}}
    for number in range(size):
        forward = f"s{draw(st.integers(number + 1, size))}"
        anywhere = f"s{draw(st.integers(0, size))}"
        kind = draw(st.sampled_from(["issue", "send", "goal", "tag", "wait", "wait_for_event", "end"]))
        state: dict[str, Any] = {"kind": kind, "next": forward}
        if kind == "end":
            state = {"kind": kind, "result": "early"}
        elif kind == "tag":
            state["tag"] = "seen"
        elif kind == "wait":
            state["duration"] = draw(hours)
        elif kind == "wait_for_event":
            exits = [forward, anywhere] if draw(st.booleans()) else [anywhere, forward]
            state = {"kind": kind, "event": draw(st.sampled_from(_EVENTS)), "timeout": draw(hours)}
            state |= dict(zip(["on_event", "on_timeout"], exits, strict=True))
        states[f"s{number}"] = state
    reached, frontier = {"s0"}, ["s0"]
    while frontier:
        state = states[frontier.pop()]
        for key in {"next", "on_event", "on_timeout"} & set(state):
            if state[key] not in reached:
                reached.add(state[key])
                frontier.append(state[key])
    return compiled({"start": "s0", "states": {name: states[name] for name in sorted(reached)}})


def towards_the_end(flow: CompiledFlow, enrolment: Enrolment) -> Cause:
    """Return the cause that leads to the nearest end from a waiting state."""
    distance = {name: 0 for name, state in flow.states.items() if state.kind == "end"}
    while len(distance) < len(flow.states):
        for name, state in flow.states.items():
            known = [distance[exit_] for _, exit_ in state.ways() if exit_ in distance]
            if name not in distance and known:
                distance[name] = min(known) + 1
    state = flow.states[enrolment.state]
    if enrolment.revision == 0 or not isinstance(state, WaitForEvent):
        return Due()
    if distance[state.on_timeout] <= distance[state.on_event]:
        return Due()
    return Happened(state.event, enrolment.entered_at, {})


@given(flows())
def test_every_valid_flow_can_be_brought_to_its_end(flow: CompiledFlow) -> None:
    enrolment = begun(flow)
    for _ in range(len(flow.states) + 2):
        if enrolment.status is Status.ENDED:
            break
        enrolment = advance(flow, enrolment, towards_the_end(flow, enrolment), LATER).enrolment
    assert enrolment.status is Status.ENDED
    assert enrolment.result is not None


_causes = st.one_of(
    st.just(Due()),
    st.builds(
        Happened,
        st.sampled_from(_EVENTS),
        st.integers(-24, 24 * 30).map(lambda hours: NOON + timedelta(hours=hours)),
        st.just({}),
    ),
)


@given(flows(), st.lists(st.tuples(_causes, st.integers(0, 24 * 30)), max_size=12))
def test_any_causes_in_any_order_keep_the_laws(flow: CompiledFlow, causes: list[tuple[Cause, int]]) -> None:
    enrolment = begun(flow)
    done: list[Effect] = []
    now = NOON
    for cause, hours in causes:
        now = max(now, NOON + timedelta(hours=hours))
        advanced = advance(flow, enrolment, cause, now)
        assert advanced == advance(flow, enrolment, cause, now)
        after = advanced.enrolment
        if after is enrolment:
            assert advanced.effects == ()
            continue
        assert after.revision == enrolment.revision + 1
        assert enrolment.entered_at <= after.entered_at <= now
        assert (after.due_at is None) == (after.status is Status.ENDED)
        if after.due_at is not None:
            assert after.due_at > after.entered_at
        assert all(enrolment.entered_at <= effect.at <= after.entered_at for effect in advanced.effects)
        done += advanced.effects
        enrolment = after
    keys = [effect.key for effect in done]
    assert len(set(keys)) == len(keys)


@given(flows(), st.lists(st.integers(0, 24 * 30), max_size=10))
def test_it_does_not_matter_how_late_the_executor_comes(flow: CompiledFlow, hours: list[int]) -> None:
    """Events applied as they come, with timeouts in between, give what they give when all are late."""
    events = [Happened("viewed", NOON + timedelta(hours=hour), {}) for hour in sorted(hours)]
    prompt = late = begun(flow)
    effects: tuple[list[datetime], list[datetime]] = ([], [])
    for event in events:
        while (due := advance(flow, prompt, Due(), event.at)).enrolment is not prompt:
            prompt = due.enrolment
            effects[0].extend(effect.at for effect in due.effects)
        for side, now in ((0, event.at), (1, LATER)):
            advanced = advance(flow, prompt if side == 0 else late, event, now)
            effects[side].extend(effect.at for effect in advanced.effects)
            if side == 0:
                prompt = advanced.enrolment
            else:
                late = advanced.enrolment
    assert msgspec.structs.replace(prompt, revision=0) == msgspec.structs.replace(late, revision=0)
    assert effects[0] == effects[1]
