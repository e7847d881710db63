"""What a preference page shows of a user: what counts now, and what was sent and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from audiences.consent.models import Channel, Consent, ConsentState, about
from audiences.consent.standing import standing
from playbooks.decision import Decision
from playbooks.models import Playbook

# In the order of the page. Transactional messages are shown and can't be ended.
PURPOSES = ("promotional", "service")
_WAYS = {Channel.EMAIL: "e-mail", Channel.SMS: "text message", Channel.PUSH: "notice on a device"}


class Choice(msgspec.Struct, frozen=True):
    """Whether messages of a purpose are sent by a way; `asked`: the user said something that counts."""

    purpose: str
    channel: Channel
    wanted: bool
    asked: bool


class Sent(msgspec.Struct, frozen=True):
    """Something that was sent lately: what, when, by which way, why; `ended`: no more such messages."""

    playbook: str
    name: str
    at: datetime
    channel: Channel
    why: Sequence[str]
    ended: bool
    transactional: bool


def choices(words: Sequence[Consent], channels: Iterable[Channel]) -> list[Choice]:
    """Return what counts for each purpose and channel; who never spoke is sent what others are."""
    found = []
    for purpose in PURPOSES:
        for channel in channels:
            deciding = standing(words, purpose, channel)
            wanted = deciding is None or deciding.state is ConsentState.GRANTED
            found.append(Choice(purpose, channel, wanted, deciding is not None))
    return found


def ended(words: Iterable[Consent], playbook: str) -> bool:
    """Whether a user wants no more messages of a playbook."""
    own = [one for one in words if one.purpose == about(playbook)]
    deciding = standing(own, about(playbook), Channel.ANY)
    return deciding is not None and deciding.state is ConsentState.DENIED


def by(channel: Channel) -> str:
    """Return the name of a way, as people call it."""
    return _WAYS.get(channel, "message")


def why(playbook: Playbook, decision: Decision | None) -> list[str]:
    """Return in plain words why a message of a playbook was sent."""
    said = []
    if playbook.trigger is not None:
        said.append(f"Something happened that it answers: “{_plain(playbook.trigger)}”.")
    if playbook.audience is not None:
        said.append(f"You are in the group “{_plain(playbook.audience)}”.")
    if decision is None:
        said.append("The record of how it was chosen is not kept any more.")
    else:
        said.append(f"It was decided on {_day(decision.decided_at)}.")
        others = len(decision.arms) - 2
        if others > 0:
            chance = f"{100 * decision.propensity:.0f} %"
            said.append(f"Of {others + 1} things that you could have got it was drawn, at {chance}.")
    if playbook.purpose == "transactional":
        said.append("It is about something you did or ordered; such messages always come.")
    elif playbook.purpose == "service":
        said.append("It is a service message.")
    else:
        said.append("It is a promotion.")
    return said


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"
