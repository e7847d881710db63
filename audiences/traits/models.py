"""A trait as each source tells it, and the rule by which one of them counts: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from storage.times import MICROSECOND

FORM = "form"
CRM = "crm"
IMPORT = "import"
PRODUCT = "product"
SOURCES = (CRM, PRODUCT, FORM, IMPORT)
# Under this name of its context an identify event keeps what did not count when it was recorded.
OVERRULED = "overruled_traits"
# Traits that say which language a person reads; the first that says one counts.
LANGUAGE_TRAITS = ("language", "locale")


class Trait(msgspec.Struct, frozen=True):
    """What a source says of a user since a moment; of each source the latest word is kept.

    `source` is `product` (whatever sends `identify`), `import`, `form.<id>` or `crm.<id>`.
    """

    user_id: str
    name: str
    value: Any
    source: str
    at: datetime


class Settled(msgspec.Struct, frozen=True):
    """What of an identify event's traits counts, what does not, and since when it holds."""

    counted: dict[str, Any]
    overruled: dict[str, Any]
    at: datetime


def source_of(event_source: str, *, past: bool) -> str:
    """Return the source of traits that an event tells; whoever sends `identify` is the product."""
    if event_source.partition(".")[0] in (FORM, CRM) and "." in event_source:
        return event_source
    return IMPORT if past else PRODUCT


def owns(owner: str | None, source: str) -> bool:
    """Say whether a source is the owner, or one of those the owner names (`crm` names every `crm.<id>`)."""
    return owner is not None and (source == owner or source.startswith(f"{owner}."))


def effective(told: Iterable[Trait], owner: str | None) -> Trait:
    """Return the word that counts, of at least one on the same trait.

    The owner's latest if the owner ever spoke, otherwise the latest of all. At the same moment the source
    whose name comes last counts, so that the answer does not depend on the order of arrival.
    """
    all_ = list(told)
    owned = [one for one in all_ if owns(owner, one.source)]
    return max(owned or all_, key=lambda one: (one.at, one.source))


def settle(
    properties: Mapping[str, Any],
    source: str,
    at: datetime,
    held: Mapping[str, Sequence[Trait]],
    owners: Mapping[str, str],
) -> Settled:
    """Return which traits of an identify event count, given what is held of its user by trait.

    A trait that another source owns does not count once the owner has spoken of it. The owner's own word
    counts from just after what others said before it came, so that whoever takes the latest takes it.
    """
    counted, overruled = {}, {}
    since = at
    for name, value in properties.items():
        owner = owners.get(name)
        others = held.get(name, ())
        if owner is not None and not owns(owner, source) and any(owns(owner, one.source) for one in others):
            overruled[name] = value
            continue
        counted[name] = value
        if owns(owner, source):
            said = [one.at for one in others if not owns(owner, one.source)]
            since = max([since, *(moment + MICROSECOND for moment in said)])
    return Settled(counted, overruled, since)
