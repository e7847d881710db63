"""The library that decisions are measured with: 200 live playbooks of ten arms each, 40 arms for everybody.

Thirty features of three views, two of them by category for what users like, and fifty audiences. Of the
playbooks four are for everybody; eight more, whose users are everybody too, are stopped by a rule of their
own; the others are for audiences that nobody is in. All of them have a cap.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

PLAYBOOKS, ARMS_EACH, FOR_ALL, STOPPED, AUDIENCES = 200, 10, 4, 8, 50
ELIGIBLE = FOR_ALL * ARMS_EACH
PLACEMENT = "home"
_WINDOWS = ["1d", "2d", "3d", "5d", "7d", "14d", "30d", "60d", "90d", "180d"]
_SCALARS = ("orders_7d", "orders_30d", "orders_90d", "value_7d", "value_30d", "value_90d")


def write(library: Path) -> None:
    """Put it in the place of a copy of the demo's library; offers and contents stay."""
    for path in (library / "playbooks").glob("*.yaml"):
        path.unlink()
    _put(library / "aggregates.yaml", _features())
    _put(library / "audiences.yaml", {"audiences": list(_audiences())})
    _put(library / "policy.yaml", _policy())
    offers = [one["id"] for one in yaml.safe_load((library / "offers.yaml").read_text(encoding="utf-8"))]
    for number in range(PLAYBOOKS):
        _put(library / "playbooks" / f"plan_{number}.yaml", _playbook(number, offers))


def _features() -> dict[str, Any]:
    vocabulary = {"column": "categories", "vocabulary": "arm_category"}
    rates = [
        {"name": f"category_rate_hl{weeks}", "function": "decayed_rate", "half_life_weeks": weeks}
        for weeks in (8, 40)
    ]
    likes = [{"name": "baskets", "function": "mean", "column": "value", "windows": _WINDOWS[2:]}]
    paid = {"entity": "user", "ttl_days": 35, "event": "order_completed"}
    of_category = {"each": "categories", "by": vocabulary}
    return {
        "entities": {"user": {"key": "user_id"}},
        "views": {
            "user_orders": {
                **paid,
                "features": [{"name": "orders", "function": "count", "windows": _WINDOWS}],
            },
            "user_value": {
                **paid,
                "features": [{"name": "value", "function": "sum", "column": "value", "windows": _WINDOWS}],
            },
            "user_likes": {**paid, "features": [*likes, *({**one, **of_category} for one in rates)]},
        },
        "services": {
            "decide": ["user_orders", "user_value", "user_likes"],
            "audience_rules": ["user_orders", "user_value"],
        },
    }


def _audiences() -> Iterator[dict[str, str]]:
    yield {"id": "everybody", "name": "Everybody", "rule": "orders_180d >= 0"}
    for number in range(1, AUDIENCES):
        rule = f"orders_180d > {10**6 + number} AND value_{_WINDOWS[number % 10]} > {number}"
        yield {"id": f"nobody_{number}", "name": "Nobody", "rule": rule}


def _policy() -> dict[str, Any]:
    rates = [
        {"name": name, "from": f"category_rate_{name}", "at": "arm.category", "transform": ["raw", "sqrt"]}
        for name in ("hl8", "hl40")
    ]
    return {
        "id": "wide",
        "placements": [PLACEMENT],
        "features": [*rates, *({"scalar": name, "transform": ["log1p"]} for name in _SCALARS)],
        "prior": {"intercept": -3, "weights": {"hl8.sqrt": 2, "hl40.sqrt": 2}},
        "learner": {"kind": "vw", "loss": "logistic"},
        "exploration": {
            "kind": "epsilon_greedy",
            "epsilon": {"start": 0.02, "floor": 0.02, "half_life": 10_000},
        },
    }


def _playbook(number: int, offers: list[str]) -> dict[str, Any]:
    given = [offers[(ARMS_EACH * number + place) % len(offers)] for place in range(ARMS_EACH)]
    everybody = number < FOR_ALL + STOPPED
    stopped = {"rules": {"eligibility": "orders_180d > 1000000"}} if number >= FOR_ALL and everybody else {}
    return {
        "id": f"plan_{number}",
        "name": f"Plan {number}",
        "placement": PLACEMENT,
        "audience": "everybody" if everybody else f"nobody_{1 + number % (AUDIENCES - 1)}",
        "goal": {
            "event": "order_completed",
            "where": "list_contains(event.categories, arm.category)",
            "window": "P14D",
            "value": 1,
        },
        "variants": [{"offers": given, "channel": "mailbox", "content": "offer_notice"}],
        "constraints": [{"id": "few", "limit": 1_000_000, "window": "P7D"}],
        "flow": {
            "start": "give",
            "states": {"give": {"kind": "issue", "next": "over"}, "over": {"kind": "end", "result": "given"}},
        },
        **stopped,
    }


def _put(path: Path, document: Any) -> None:
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
