"""Differences between versions, as people say them, and nothing where versions mean the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from playbooks.library import VersionBody
from playbooks.library.diff import differences, told

BODY: dict[str, Any] = {
    "playbook": {
        "id": "win_back",
        "name": "Win back",
        "placement": "outbound",
        "audience": "lapsing",
        "goal": {"event": "order_completed", "window": "P14D", "value": 1},
        "variants": [
            {"id": "ten_off", "offer": "coupon", "channel": "mailbox", "content": "notice"},
            {"id": "hello", "offer": "nothing", "channel": "mailbox", "content": "notice"},
        ],
        "constraints": [{"id": "three_attempts", "limit": 3, "window": "P84D"}],
        "flow": {
            "start": "tell",
            "states": {
                "tell": {"kind": "send", "next": "wait"},
                "wait": {"kind": "wait", "duration": "P7D", "next": "over"},
                "over": {"kind": "end", "result": "over"},
            },
        },
    },
    "offers": [
        {"id": "coupon", "name": "A coupon", "kind": "fixed_amount", "value": "5.00 EUR"},
        {"id": "nothing", "name": "Nothing"},
    ],
    "contents": [{"id": "notice", "subject": "For you", "body": "Good day"}],
}


def body(*edits: tuple[str, Any]) -> VersionBody:
    """The version with values put at places like `playbook.goal.window`; None takes away."""
    document = msgspec.json.decode(msgspec.json.encode(BODY))
    for place, value in edits:
        *path, last = [int(step) if step.isdigit() else step for step in place.split(".")]
        target = document
        for step in path:
            target = target[step]
        if value is None:
            del target[last]
        else:
            target[last] = value
    return VersionBody.model_validate(document)


@pytest.mark.parametrize(
    ("edits", "lines"),
    [
        ([("offers.0.value", "8.00 EUR")], ["variant ten_off: value 5.00 EUR → 8.00 EUR"]),
        ([("playbook.variants.0.value", "8.00 EUR")], ["variant ten_off: value 5.00 EUR → 8.00 EUR"]),
        ([("playbook.audience", "at_risk")], ["audience: lapsing → at_risk"]),
        ([("playbook.audience", None)], ["audience: lapsing → none"]),
        ([("playbook.goal.window", "P7D")], ["goal: window P14D → P7D"]),
        ([("playbook.constraints.0.limit", 5)], ["constraint three_attempts: limit 3 → 5"]),
        ([("playbook.constraints", [])], ["constraint three_attempts: removed (limit 3, window P84D"]),
        ([("playbook.flow.states.wait.duration", "P3D")], ["flow state wait: duration P7D → P3D"]),
        (
            [("playbook.flow.start", "wait"), ("playbook.flow.states.tell", None)],
            ["flow: start tell → wait", "flow state tell: removed (kind send, next wait)"],
        ),
        (
            [("playbook.rules", {"eligibility": "orders_12w > 0"})],
            ['rules: eligibility none → "orders_12w > 0"'],
        ),
        ([("playbook.labels", ["spring"])], ["labels: none → spring"]),
        ([("contents.0.subject", "Just for you")], ['content notice: subject "For you" → "Just for you"']),
        (
            [("playbook.variants.1", None)],
            [
                "variant hello: removed (offer nothing, channel mailbox, content notice)",
                "offer nothing: removed",
            ],
        ),
        (
            [("playbook.pilot", {"share": 0.1, "floor": 0.1, "ceiling": 0.5})],
            ["pilot: added (share 0.1, floor 0.1, ceiling 0.5"],
        ),
    ],
)
def test_what_differs_is_said_in_the_words_of_the_library(
    edits: list[tuple[str, Any]], lines: list[str]
) -> None:
    after = body(*edits)
    if edits[0][0] == "playbook.variants.1":
        after = after.model_copy(update={"offers": after.offers[:1]})
    found = [str(one) for one in differences(body(), after)]
    liability = "variant ten_off: liability"
    kept = [
        one
        for one in found
        if not one.startswith(("variant ten_off: cost", liability, "variant ten_off: offer"))
    ]
    assert len(kept) == len(lines), found
    for line, begins in zip(kept, lines, strict=True):
        assert line.startswith(begins)


def test_nothing_differs() -> None:
    assert differences(body(), body()) == []
    assert told([]) == "nothing differs"


def test_changes_as_json() -> None:
    changes = msgspec.to_builtins(differences(body(), body(("playbook.priority", 7))))
    assert changes == [{"what": "", "id": "", "field": "priority", "before": 0, "after": 7}]


def test_a_grid_that_grows_has_new_variants_and_leaves_the_others() -> None:
    grid = [{"offer": "coupon", "values": ["3.00 EUR"], "channel": "mailbox", "content": "notice"}]
    larger = [{**grid[0], "values": ["3.00 EUR", "8.00 EUR"]}]
    lines = [
        str(one)
        for one in differences(body(("playbook.variants", grid)), body(("playbook.variants", larger)))
    ]
    assert lines == [
        "variant coupon_8_00: added (offer coupon_8_00, channel mailbox, content notice, value 8.00 EUR, "
        "cost 8.00 EUR)"
    ]
