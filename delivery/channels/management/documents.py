"""What is said of a channel's management in channels.yaml."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from playbooks.constraints.documents import Zone
from playbooks.document import Document, Name
from playbooks.flow.times import Lasting
from playbooks.money import Money

# More requests at once than one process serves well, and than providers allow.
MOST_AT_ONCE: Final = 64
_MOST = 10**9

_Number = Annotated[int, Field(ge=1, le=_MOST)]


class Rate(Document):
    """How many messages go out in a second or minute at most, over all processes.

    A token bucket: it holds what a second brings, at least one, so no second sees more than twice that.
    """

    messages: _Number
    per: Literal["second", "minute"] = "second"

    @property
    def per_second(self) -> float:
        return self.messages / (1 if self.per == "second" else 60)

    @property
    def burst(self) -> float:
        """How many tokens the bucket holds."""
        return max(1.0, self.per_second)


class Quota(Document):
    """How many messages the provider is given in a day and a month of a zone at most, counted exactly."""

    day: _Number | None = None
    month: _Number | None = None
    zone: Zone = "UTC"

    @model_validator(mode="after")
    def _of_something(self) -> Quota:
        if self.day is None and self.month is None:
            raise ValueError("a quota is of a `day`, of a `month`, or of both")
        return self


class Breaker(Document):
    """When a channel counts as broken and rests.

    It opens when within `window` at least `failures` attempts failed by the provider's fault, and of all that
    were made at least `share`. After each `rest` it lets `probes` messages through; when one of them is
    taken, it closes. When it was open for `then_after`, what waits goes the channel's next way (`then`).
    """

    failures: _Number = 20
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    window: Lasting = timedelta(minutes=1)
    rest: Lasting = timedelta(seconds=30)
    probes: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] = 1
    then_after: Lasting | None = None


class Management(Document):
    """How a channel is used.

    `concurrency` is how many messages each process hands over at once. `then` are the channels, in their
    order, on which a message goes out that surely did not reach its user here. `cost` is what the provider
    asks for each message it takes.
    """

    concurrency: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] = 4
    rate: Rate | None = None
    quota: Quota | None = None
    breaker: Breaker | None = Breaker()
    then: Annotated[list[Name], Field(max_length=10)] = []
    cost: Money | None = None

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Management:
        if self.breaker is not None and self.breaker.then_after is not None and not self.then:
            raise ValueError("breaker.then_after needs `then`: the channels to which messages go")
        if doubles := sorted({one for one in self.then if self.then.count(one) > 1}):
            raise ValueError(f"then names {', '.join(doubles)} more than once")
        return self

    @property
    def remembers(self) -> bool:
        """Whether it has to be known how the channel did so far."""
        return self.rate is not None or self.quota is not None or self.breaker is not None


# Of channels that no file says anything of: they are in this very process, and take one after the other.
LOCAL: Final = Management(concurrency=1, breaker=None)
