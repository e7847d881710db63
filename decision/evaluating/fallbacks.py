"""What each placement shows where no policy can be asked, as it is served now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from playbooks.fallbacks import Fallback
from playbooks.matching import Snapshot


class FallbackNow(msgspec.Struct, frozen=True):
    """The fallback of a placement: what policy.yaml names, and the arm that is shown.

    Both are None where none is named. `why` says what keeps one that is named from being shown.
    """

    placement: str
    named: str | None = None
    variant: str | None = None
    why: str | None = None


def fallbacks_now(snapshot: Snapshot, placements: Sequence[str], now: datetime) -> list[FallbackNow]:
    """Return what is shown at placements, in their order; a holdout keeps some users from it all the same."""
    return [_now(snapshot, placement, now) for placement in placements]


def _now(snapshot: Snapshot, placement: str, now: datetime) -> FallbackNow:
    named, found = snapshot.fallbacks.get(placement), snapshot.fallback(placement)
    if not isinstance(found, Fallback):
        return FallbackNow(placement, named, None, found)
    rule = found.stopped_by("", snapshot.controls, now)
    if rule is not None:
        return FallbackNow(placement, named, None, f"{rule} stops the playbook {found.playbook.id!r}")
    return FallbackNow(placement, named, found.arm.id)
