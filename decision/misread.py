"""What is wrong with a body of `POST /v1/decide` that can't be read: worked out only once it could not be."""

from __future__ import annotations

import json
import re
from typing import NoReturn

import msgspec

from decision.answers import AskedIdentity, ContextName, ContextValue, DecideRequest
from playbooks.suggesting import closest

_HINT = 'send {"user_id": "…", "placement": "…"}'
_UNKNOWN_FIELD = re.compile(r"^Object contains unknown field `(.*?)`(?: - at `\$\.(\w+)`)?$", re.S)
_OF_CONTEXT = "$.context"


def misread(body: bytes, error: Exception, encoding: str | None) -> str:
    """Return what is wrong, where, and what to do.

    Args:
        error: of the decoder.
        encoding: the request's `Content-Encoding`, if it has one.
    """
    if encoding not in (None, "", "identity"):
        return f"the body is sent as {encoding}, which is not taken here: send it as it is"
    if found := _UNKNOWN_FIELD.match(str(error)):
        name, place = found.groups()
        fields = (AskedIdentity if place == "identity" else DecideRequest).__struct_fields__
        return f"there is no field {f'{place}.' if place else ''}{name}{closest(name, fields)}"
    if _OF_CONTEXT in str(error) and (told := _of_context(body)):
        return told
    return f"{_constant(body) or error}; {_HINT}"


def _of_context(body: bytes) -> str | None:
    """Return which value of the context can't be told, for the decoder does not name it."""
    try:
        context = msgspec.json.decode(body)["context"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        return None
    if not isinstance(context, dict):
        return None
    for name, value in context.items():
        try:
            msgspec.convert(name, ContextName)
            msgspec.convert(value, ContextValue)
        except msgspec.ValidationError as error:
            return f"context.{name[:64]}: {error}"
    return None


def _constant(body: bytes) -> str | None:
    """Return which number that JSON has no word for stands there, None if none does."""
    try:
        json.loads(body, parse_constant=_refuse)
    except _NoJson as error:
        return f"JSON has no {error}: send null where a number is not known"
    except (ValueError, RecursionError):
        pass
    return None


class _NoJson(Exception):
    """A word for a number that JSON does not have."""


def _refuse(word: str) -> NoReturn:
    raise _NoJson(word)
