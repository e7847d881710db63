"""States that a run passes through: what is done, where it goes on, how it ends."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator, model_validator

from playbooks.document import Document, Name
from playbooks.flow.addresses import WebhookUrl
from playbooks.flow.tasks import Task
from playbooks.flow.times import Lasting
from playbooks.flow.waits import DecideAgain, Wait, WaitForEvent, Way

# Instead of a channel's name: the one that a user answers.
PREFERRED: Final = "preferred"
_ROUNDING = 1e-9


class _Passed(Document):
    """A state that is left at once, by its one exit."""

    kind: str
    next: str

    def ways(self) -> Iterator[Way]:
        yield "", self.next


class Issue(_Passed):
    """Issue the variant's offer into the user's wallet."""

    kind: Literal["issue"]


class Send(_Passed):
    """Send a content on a channel: those of the variant, unless others are named.

    The channel `preferred` is, for each user, the one `among` some that the user is most likely to answer.
    `window` names a send window that this message finds open, beside those that bind it anyway.
    """

    kind: Literal["send"]
    channel: Name | None = None
    content: Name | None = None
    window: Name | None = None
    among: Annotated[list[Name], Field(max_length=10)] = []

    @model_validator(mode="after")
    def _chosen_among(self) -> Send:
        if (self.channel == PREFERRED) != bool(self.among):
            raise ValueError(f"`among` names the channels for `channel: {PREFERRED}`: write both, or neither")
        if len(set(self.among)) != len(self.among) or len(self.among) == 1:
            raise ValueError("`among` names two channels or more, each once")
        return self

    def channels(self, own: str) -> list[str]:
        """Return the channels on which it may be sent; `own` is that of the variant."""
        return self.among or [self.channel or own]


class Tag(_Passed):
    """Put a tag on the user, for a while or for good."""

    kind: Literal["tag"]
    tag: str
    expires_after: Lasting | None = None


class Score(_Passed):
    """Give the user points in a score, or take some away."""

    kind: Literal["score"]
    score: Name
    points: Annotated[float, Field(ge=-10_000, le=10_000)]


class Webhook(_Passed):
    """Tell another system, with a signed request (Standard Webhooks); the run does not wait for it.

    `data` is sent along as it stands.
    """

    kind: Literal["webhook"]
    url: WebhookUrl
    data: Mapping[Name, str] = {}


class GoalReached(_Passed):
    """Note that the goal was reached; the issued offer counts as used."""

    kind: Literal["goal"]


class Branch(Document):
    """Go on by a rule over the user's features, tags and audiences, as they are when the run comes here."""

    kind: Literal["branch"]
    rule: str
    then: str
    otherwise: str

    def ways(self) -> Iterator[Way]:
        yield self.rule, self.then
        yield "otherwise", self.otherwise


class Split(Document):
    """Go on at random: `shares` gives each following state its share, together 1.

    A salted hash of the user decides, so the same user always goes the same way.
    """

    kind: Literal["split"]
    shares: Annotated[dict[str, Annotated[float, Field(gt=0, le=1)]], Field(min_length=2, max_length=64)]

    @field_validator("shares")
    @classmethod
    def _whole(cls, value: dict[str, float]) -> dict[str, float]:
        total = math.fsum(value.values())
        if abs(total - 1) > _ROUNDING:
            raise ValueError(f"the shares sum to {total:g}, not to 1")
        return value

    def ways(self) -> Iterator[Way]:
        for target, share in self.shares.items():
            yield f"{100 * share:g} %", target

    def way(self, place: float) -> str:
        """Return the state to which a place in [0, 1) belongs."""
        passed = 0.0
        for target, share in self.shares.items():
            passed += share
            if place < passed:
                return target
        return target


class End(Document):
    """The run is over, with a result for the reports."""

    kind: Literal["end"]
    result: str

    def ways(self) -> Iterator[Way]:
        yield from ()


# States that do something; states at which somebody or something else decides when it goes on.
Doing = Issue | Send | Tag | Score | Webhook | GoalReached
Waiting = Wait | WaitForEvent | Task | DecideAgain
State = Annotated[Doing | Waiting | Branch | Split | End, Field(discriminator="kind")]
