"""The channel that a user answers: a smoothed share of messages opened, clicked or replied to. Pure.

For each channel the share is beta-binomial: (STRENGTH · m + answered) / (STRENGTH + sent), the mean of a beta
distribution over the user's own share, whose prior has the population's share m as its mean and weighs as
much as STRENGTH messages. m itself is (1 + answered) / (2 + sent) over the population: a half where nothing
is known. See Gelman et al., Bayesian Data Analysis, 3rd ed., section 5.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from delivery.models import MessageFact, MessageState
from storage.ledger import Fact

# Messages that the population counts as: about as many say something of one user.
STRENGTH: Final = 10.0

_SENT = frozenset((MessageState.SENT.value,))
_ANSWERED = frozenset(one.value for one in (MessageState.OPENED, MessageState.CLICKED, MessageState.REPLIED))


class Tally(msgspec.Struct, frozen=True, gc=False):
    """Messages sent on a channel, and those of them that were answered: opened, clicked or replied to."""

    sent: int = 0
    answered: int = 0


def tallied(facts: Iterable[Fact]) -> dict[str, Tally]:
    """Return the tallies of facts of messages by channel; a message counts once, however often it is opened.

    One of which only the answer is among the facts counts as sent. A bounced one was sent and never answered.
    """
    sent: dict[str, set[str]] = {}
    answered: dict[str, set[str]] = {}
    for fact in facts:
        answers = fact.label in _ANSWERED
        if answers or fact.label in _SENT:
            body: MessageFact = fact.decode(MessageFact)
            key = fact.id.rpartition(":")[0]
            sent.setdefault(body.channel, set()).add(key)
            if answers:
                answered.setdefault(body.channel, set()).add(key)
    return {channel: Tally(len(keys), len(answered.get(channel, ()))) for channel, keys in sent.items()}


def answering(mine: Mapping[str, Tally], everybody: Mapping[str, Tally]) -> dict[str, float]:
    """Return by channel the share of messages that a user is expected to answer, in (0, 1).

    >>> everybody = {"sms": Tally(98, 19), "email": Tally(98, 39)}
    >>> shares = answering({"sms": Tally(10, 8), "email": Tally(10, 0)}, everybody)
    >>> {channel: round(share, 2) for channel, share in sorted(shares.items())}
    {'email': 0.2, 'sms': 0.5}
    """
    shares = {}
    for channel in {**everybody, **mine}:
        all_, own = everybody.get(channel, Tally()), mine.get(channel, Tally())
        mean = (1 + all_.answered) / (2 + all_.sent)
        shares[channel] = (STRENGTH * mean + own.answered) / (STRENGTH + own.sent)
    return shares


def preferred(among: Sequence[str], shares: Mapping[str, float]) -> str:
    """Return the channel of the highest share; of equal ones, the first. One nobody used yet counts a half.

    >>> preferred(["email", "sms"], {"sms": 0.5, "email": 0.2})
    'sms'
    >>> preferred(["email", "sms"], {})
    'email'
    """
    return max(among, key=lambda channel: (shares.get(channel, 0.5), -among.index(channel)))
