"""What a request tells of its moment: the numbers that the policy names as its context."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from audiences.rules import Schema, Type
from decision.errors import WrongContext
from playbooks.suggesting import closest

# Under which rules ask for what a request tells.
_CONTEXT = "context."


def with_told(schema: Schema, names: Collection[str]) -> Schema:
    """Return what constraints may speak of: these names, and `context.<name>` of what requests tell."""
    told = {f"{_CONTEXT}{name}": Type.NUMBER for name in names}
    return replace(schema, names={**schema.names, **told})


def told_with(values: Mapping[str, Any], context: Mapping[str, float | bool | None]) -> Mapping[str, Any]:
    """Return a user's features with what the request tells, as the policy and as rules name it."""
    if not context:
        return values
    for_rules = {f"{_CONTEXT}{name}": None if told is None else float(told) for name, told in context.items()}
    return {**values, **context, **for_rules}


def check_context(context: Mapping[str, float | bool | None], known: Collection[str]) -> None:
    """Make sure that a policy can read a context.

    Raises:
        WrongContext: a name that the policy does not read, or a number that is not finite.
    """
    for name, value in context.items():
        if name not in known:
            raise WrongContext(f"context: the policy reads no {name!r}{closest(name, known)}")
        if value is not None and not math.isfinite(value):
            raise WrongContext(f"context.{name}: this must be finite or null, not {value}")
