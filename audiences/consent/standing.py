"""What a user's words come to for one purpose on one channel: pure, over the words that count now."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from audiences.consent.models import ANY, Channel, Consent, ConsentState, paced

# More than anybody is sent.
_ANY_NUMBER = 10**9


def standing(words: Iterable[Consent], purpose: str, channel: Channel) -> Consent | None:
    """Return the word that decides, None if the user never spoke of this.

    A word on any purpose, or on any channel, covers all of them. Of all that cover what is asked, the
    latest decides; at the same moment a denial does. The words may be those of several profiles of one
    person: then too, a denial that is not older than every grant holds.
    """
    covering = (
        one for one in words if one.purpose in (purpose, ANY) and one.channel in (channel, Channel.ANY)
    )
    return max(covering, key=_weight, default=None)


def pacing(words: Iterable[Consent], purpose: str, channel: Channel) -> tuple[int, Channel] | None:
    """Return how many messages of a purpose a user agreed to at most, and by which way; None: any number.

    The latest word counts; of several at one moment, the one that wants fewest.
    """
    said: list[tuple[datetime, int, Channel]] = []
    for one in words:
        head, _, number = one.purpose.rpartition(".")
        if f"{head}." == paced(purpose, 0)[:-1] and one.channel in (channel, Channel.ANY):
            said.append((one.at, -(int(number) or _ANY_NUMBER), one.channel))
    if not said:
        return None
    _, most, way = max(said)
    return None if most == -_ANY_NUMBER else (-most, way)


def allowed(words: Iterable[Consent], purpose: str, channel: Channel) -> bool:
    """Say whether the user agreed; silence is no consent."""
    deciding = standing(words, purpose, channel)
    return deciding is not None and deciding.state is ConsentState.GRANTED


def _weight(one: Consent) -> tuple[object, bool]:
    return one.at, one.state is ConsentState.DENIED
