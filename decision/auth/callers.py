"""Who asks for tasks: an operator, for whom all of them are, or one person of the staff."""

from __future__ import annotations

from starlette.requests import Request

from decision.auth.guard import key_of
from decision.auth.models import Key, Scope
from delivery.people.models import Caller


def caller_of(request: Request) -> Caller:
    """Return who asks, by the key that the request was let through with."""
    return caller_with(key_of(request))


def caller_with(key: Key) -> Caller:
    """Return who asks with a key."""
    return Caller(key.name or key.id, key.person, Scope.OPERATE in key.grants)
