"""What a request tells of its moment: the numbers that the policy names as its context."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from decision.errors import WrongContext
from playbooks.suggesting import closest


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
