"""VW's dsjson: one line a decision, as `vw --dsjson --cb_explore_adf` reads it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from learning.exports.logged import Logged
from playbooks.models import DO_NOTHING, Arm


def line_of(logged: Logged, arms: Sequence[Arm]) -> bytes:
    """Return the decision as one dsjson line, without the line's end.

    Costs are negative rewards. Actions are numbered from 1 in the order of the record, "do nothing" last; the
    drawn one comes first in `a`, with its propensity first in `p`. A decision whose reward is not known yet
    has no label, and one that nothing may be learned from (a cap had no room, a holdout) says `_skipLearn`.

    Args:
        arms: those of the decision, in its order, without "do nothing".
    """
    decision = logged.decision
    order = sorted(range(len(decision.arms)), key=lambda place: place != decision.chosen)
    document: dict[str, Any] = {}
    if logged.reward is not None:
        document = {
            "_label_cost": -logged.reward.earned,
            "_label_probability": decision.propensity,
            "_label_Action": decision.chosen + 1,
            "_labelIndex": decision.chosen,
        }
    if logged.reward is None or decision.refused_by is not None or decision.holdout:
        document["_skipLearn"] = True
    document |= {
        "Timestamp": decision.decided_at.isoformat(),
        "Version": "1",
        "EventId": decision.decision_id,
        "a": [place + 1 for place in order],
        "c": {
            "User": _features(decision.features),
            "_multi": [*({"Arm": _attributes(arm)} for arm in arms), {"Arm": {"id": DO_NOTHING}}],
        },
        "p": [decision.probabilities[place] for place in order],
        "VWState": {"m": decision.policy},
    }
    return msgspec.json.encode(document)


def _features(features: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user's features but those that are unknown, which VW takes for 0 anyway."""
    result: dict[str, Any] = {}
    for name, value in features.items():
        if isinstance(value, list | tuple):
            # Under their positions: VW would drop the place of what it leaves out.
            result[name] = {f"{place}": one for place, one in enumerate(value) if _is_number(one)}
        elif isinstance(value, str | bool) or _is_number(value):
            result[name] = value
    return result


def _attributes(arm: Arm) -> dict[str, str]:
    return {"id": arm.id, **arm.attributes}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
