"""What is known of a user when constraints are asked: read once for a decision, recorded with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from audiences.consent.models import Channel, Consent
from audiences.consent.standing import allowed
from playbooks.constraints.counting import Budget, Uses


class Needs(msgspec.Struct, frozen=True):
    """What has to be known before some playbooks can be decided about.

    `lookback` is how far back uses count; `events` are names whose latest moment matters; `budgets` are those
    of which it matters how much is taken.
    """

    lookback: timedelta = timedelta(0)
    tags: bool = False
    consents: bool = False
    account: bool = False
    events: frozenset[str] = frozenset()
    budgets: frozenset[Budget] = frozenset()

    def __or__(self, other: Needs) -> Needs:
        return Needs(
            max(self.lookback, other.lookback),
            self.tags or other.tags,
            self.consents or other.consents,
            self.account or other.account,
            self.events | other.events,
            self.budgets | other.budgets,
        )


class Circumstances(msgspec.Struct, frozen=True):
    """A user at the moment of a decision, as far as constraints ask.

    `uses` are moments of uses by what they are counted under, the account's among them. `zone` is the user's
    own. `events` has the latest moment of those events that constraints name, `levels` how much is taken of
    budgets, by their keys.
    """

    uses: Uses = {}
    zone: str = "UTC"
    account: str | None = None
    tags: frozenset[str] = frozenset()
    consents: Sequence[Consent] = ()
    events: Mapping[str, datetime] = {}
    levels: Mapping[str, int] = {}

    def agreed(self, purpose: str, channel: Channel) -> bool:
        """Whether the user agreed to a purpose on a channel; silence is no consent."""
        return allowed(self.consents, purpose, channel)


class Recorded(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a decision used of the circumstances, as its record keeps it.

    `consents` says of each `purpose.channel` that was asked about whether the user had agreed; `tags` are
    those the user carried, where a rule asks for tags; `levels` is how much was taken of each budget.
    """

    zone: str = "UTC"
    account: str | None = None
    tags: Sequence[str] = ()
    consents: Mapping[str, bool] = {}
    events: Mapping[str, datetime] = {}
    levels: Mapping[str, int] = {}
