"""What a preference page shows of a user: what counts now, and what was sent and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from audiences.consent.models import Channel, Consent, ConsentState, about
from audiences.consent.standing import pacing, standing
from playbooks.decision import Decision
from playbooks.models import Playbook

# In the order of the page. Transactional messages are shown and can't be ended.
PURPOSES = ("promotional", "service")
_WAYS = {Channel.EMAIL: "e-mail", Channel.SMS: "text message", Channel.PUSH: "notice on a device"}


class Choice(msgspec.Struct, frozen=True):
    """Whether messages of a purpose are sent by a way; `asked`: the user said something that counts.

    `pace`: how many in four weeks at most, where the user asked for fewer.
    """

    purpose: str
    channel: Channel
    wanted: bool
    asked: bool
    pace: int | None = None


class Sent(msgspec.Struct, frozen=True):
    """Something that was sent lately: what, when, by which way, why.

    `ended`: no more such messages; `pace`: of its purpose by its way no more than so many in four weeks.
    """

    playbook: str
    name: str
    at: datetime
    channel: Channel
    why: Sequence[str]
    ended: bool
    purpose: str
    pace: int | None = None

    @property
    def transactional(self) -> bool:
        return self.purpose == "transactional"


def choices(words: Sequence[Consent], channels: Iterable[Channel]) -> list[Choice]:
    """Return what counts for each purpose and channel; who never spoke is sent what others are."""
    found = []
    for purpose in PURPOSES:
        for channel in channels:
            deciding = standing(words, purpose, channel)
            wanted = deciding is None or deciding.state is ConsentState.GRANTED
            asked = deciding is not None
            found.append(Choice(purpose, channel, wanted, asked, pace_of(words, purpose, channel)))
    return found


def pace_of(words: Iterable[Consent], purpose: str, channel: Channel) -> int | None:
    """Return how many messages of a purpose a user wants by a way in four weeks at most; None: any number."""
    pace = pacing(words, purpose, channel)
    return None if pace is None else pace[0]


def ended(words: Iterable[Consent], playbook: str) -> bool:
    """Whether a user wants no more messages of a playbook."""
    own = [one for one in words if one.purpose == about(playbook)]
    deciding = standing(own, about(playbook), Channel.ANY)
    return deciding is not None and deciding.state is ConsentState.DENIED


def by(channel: Channel) -> str:
    """Return the name of a way, as people call it."""
    return _WAYS.get(channel, "message")


def why(playbook: Playbook, decision: Decision | None, pace: int | None = None) -> list[str]:
    """Return in plain words why a message of a playbook was sent; `pace` is what its user asked for."""
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
    if pace is not None:
        said.append(f"You asked for fewer of these: {at_most(pace)}.")
    return said


def at_most(pace: int) -> str:
    """Return a pace as people say it."""
    return f"at most {pace} in four weeks"


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"
