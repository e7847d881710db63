"""The effect that a state of a flow wishes for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from delivery.models import CallWebhook, Effect, GivePoints, IssueCoupon, MarkUsed, SendMessage, SetTag
from delivery.preference import preferred
from delivery.waiting import later
from playbooks import flow as states
from playbooks.models import Arm


def wish(
    state: states.Doing, name: str, key: str, moment: datetime, arm: Arm, answers: Mapping[str, float]
) -> Effect:
    """Return what a state wants done, under the key of the wish.

    Args:
        name: of the state.
        arm: with whose channel and content is sent, unless the state names others.
        answers: by channel, the share of messages that the user is expected to answer.

    Raises:
        FlowBroken: something is to last beyond the calendar.
    """
    if isinstance(state, states.Send):
        channel = preferred(state.among, answers) if state.among else state.channel or arm.channel
        return SendMessage(key, moment, channel, state.content or arm.content, name)
    if isinstance(state, states.Issue):
        return IssueCoupon(key, moment, name)
    if isinstance(state, states.GoalReached):
        return MarkUsed(key, moment)
    if isinstance(state, states.Score):
        return GivePoints(key, moment, state.score, state.points)
    if isinstance(state, states.Webhook):
        return CallWebhook(key, moment, name)
    lasting = state.expires_after
    return SetTag(key, moment, state.tag, None if lasting is None else later(moment, lasting, name))
