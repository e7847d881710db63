"""Whether a user may begin a run of a playbook again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from delivery.models import Status
from playbooks.flow import Reentry
from playbooks.models import Arm


class Former(msgspec.Struct, frozen=True, gc=False):
    """A run that there is of a user through a playbook; an ended one ended at `entered_at`."""

    status: Status
    entered_at: datetime
    arm: Arm


def rule_of(playbook: str) -> str:
    """Return the id of the rule that keeps users from beginning again."""
    return f"reentry.{playbook}"


def may_enter(reentry: Reentry, former: Sequence[Former], arm: Arm, now: datetime) -> bool:
    """Say whether a user with these runs may begin another one with an arm; a stuck run is not over."""
    inside = [one for one in former if one.status is not Status.ENDED]
    if reentry.rule == "never":
        return not former
    if reentry.rule == "per_key":
        key = reentry.key or "variant"
        return all(_value(one.arm, key) != _value(arm, key) for one in inside)
    if inside:
        return False
    return reentry.gap is None or all(now - one.entered_at >= reentry.gap for one in former)


def _value(arm: Arm, key: str) -> str | None:
    if key == "variant":
        return arm.id
    return arm.offer if key == "offer" else arm.attributes.get(key)
