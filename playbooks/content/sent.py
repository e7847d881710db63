"""Which messages a run of a playbook may send: what the variant says, and what states of the flow name."""

from __future__ import annotations

from typing import NamedTuple

from playbooks.flow import Send
from playbooks.models import Arm, Playbook


class Message(NamedTuple):
    """A content on a channel."""

    channel: str
    content: str


def contents_of(playbook: Playbook) -> set[str]:
    """Return the contents that a playbook names: those of its variants, and of its flow's sends."""
    of_variants = {content for variants in playbook.variants for content in variants.all_contents}
    return of_variants | {one.content for one in _sends(playbook) if one.content is not None}


def messages_of(playbook: Playbook, arm: Arm) -> list[Message]:
    """Return every message of an arm, that of the variant first, then as the flow's states are written."""
    sent = [
        Message(channel, one.content or arm.content)
        for one in _sends(playbook)
        for channel in one.channels(arm.channel)
    ]
    return list(dict.fromkeys([Message(arm.channel, arm.content), *sent]))


def _sends(playbook: Playbook) -> list[Send]:
    return [state for state in playbook.flow.states.values() if isinstance(state, Send)]
