"""Which state a message is in after all that is known of it, whatever came first: pure."""

from __future__ import annotations

from collections.abc import Mapping

from audiences.consent.models import Channel
from delivery.models import MessageState
from delivery.receipts.models import Bounce, Told, What

# A message is in the state of its highest rank. Who says that it arrived is believed over who says that it
# did not, except of a bounce, which mail servers send after they took a message; and who answered has it.
_RANKS: Mapping[MessageState, int] = {
    state: rank
    for rank, state in enumerate(
        (
            MessageState.SUPPRESSED,
            MessageState.QUEUED,
            MessageState.UNKNOWN,
            MessageState.SENT,
            MessageState.FAILED,
            MessageState.DELIVERED,
            MessageState.BOUNCED,
            MessageState.OPENED,
            MessageState.CLICKED,
            MessageState.REPLIED,
            MessageState.UNSUBSCRIBED,
            MessageState.COMPLAINED,
        )
    )
}
# The last part of the name of the event that a receipt becomes, where it is not the receipt's own word.
_HAPPENED: Mapping[What, str] = {What.CLICKED: "link_clicked"}
_REACHED: Mapping[str, MessageState] = {
    "opened": MessageState.OPENED,
    "link_clicked": MessageState.CLICKED,
    "replied": MessageState.REPLIED,
}
# Events of users on channels that consents know no way of their own for.
_MESSAGE = "message"
_MEDIA = (*(one.value for one in Channel if one is not Channel.ANY), _MESSAGE)


def further(before: MessageState, reached: MessageState) -> MessageState:
    """Return the state of a message that was in one and reached another; never a step back.

    >>> further(MessageState.OPENED, MessageState.DELIVERED).value
    'opened'
    """
    return max(before, reached, key=_RANKS.__getitem__)


def state_of(told: Told) -> MessageState | None:
    """Return the state that a receipt brings at once.

    None: a soft bounce is no end, and what users do counts once it is known that no machine did it.
    """
    if told.what in (What.OPENED, What.CLICKED, What.REPLIED):
        return None
    if told.what is What.BOUNCED and told.bounce is Bounce.SOFT:
        return None
    return MessageState(told.what.value)


def event_name(consent: Channel, what: What) -> str:
    """Return the name of the event that a receipt becomes: `email_opened`, `sms_link_clicked`.

    Args:
        consent: the way by which the channel reaches users.
    """
    medium = _MESSAGE if consent is Channel.ANY else consent.value
    return f"{medium}_{_HAPPENED.get(what, what.value)}"


# What users do with messages, by the names of the events.
REACHED_BY: Mapping[str, MessageState] = {
    f"{medium}_{happened}": state for medium in _MEDIA for happened, state in _REACHED.items()
}
