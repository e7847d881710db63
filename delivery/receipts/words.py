"""Words by which people end text messages, and begin them again: pure."""

from __future__ import annotations

from enum import StrEnum

# What gateways and operators take (CTIA Messaging Principles 5.1.3, Twilio's defaults), and the usual words
# of their neighbours. A message is one of them only if it says nothing else.
_STOP = frozenset(
    (
        *("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "OPTOUT", "REVOKE"),
        *("STOPP", "ABMELDEN", "ARRET", "BAJA", "ALTO", "PARAR"),
    )
)
_START = frozenset({"START", "UNSTOP"})
_MARKS = str.maketrans("êÊ", "EE", " \t\r\n.,;:!?\"'`´’()[]*-_")
_LONGEST = 40


class Meaning(StrEnum):
    """What a text message of a user asks for."""

    STOP = "stop"
    START = "start"
    TEXT = "text"


def meaning(text: str) -> Meaning:
    """Return what a text asks for.

    >>> [meaning(text).value for text in (' Stop! ', 'opt-out', 'please stop by', 'START')]
    ['stop', 'stop', 'text', 'start']
    """
    word = text.translate(_MARKS).upper() if len(text) <= _LONGEST else ""
    if word in _STOP:
        return Meaning.STOP
    return Meaning.START if word in _START else Meaning.TEXT
