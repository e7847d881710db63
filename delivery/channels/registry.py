"""All kinds of channels by name. A new one is a module beside this one and a line here.

Packages add kinds by an entry point of the group `nextplay.channels` that names a `Kind`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from delivery.channels import gateway, mailbox, named_webhook, smtp, twilio
from delivery.channels.kinds import Kind
from delivery.inbox import channel as inbox

GROUP: Final = "nextplay.channels"

KINDS: Mapping[str, Kind[Any]] = {
    "inbox": inbox.KIND,
    "mailbox": mailbox.KIND,
    "push_gateway": gateway.PUSH,
    "smtp": smtp.KIND,
    "sms_gateway": gateway.SMS,
    "twilio": twilio.KIND,
    "webhook": named_webhook.KIND,
}


class KindUnfit(Exception):
    """A package's entry point gives no kind; says why."""


def names() -> list[str]:
    """Return the names of all kinds there are, those of packages too."""
    return sorted({*KINDS, *(one.name for one in entry_points(group=GROUP))})


def kind_of(name: str) -> Kind[Any] | None:
    """Return a kind, None if there is none of this name.

    Raises:
        KindUnfit: the package that adds it can't be loaded or gives something else, or the name is taken.
    """
    added = list(entry_points(group=GROUP, name=name))
    ours = KINDS.get(name)
    if len(added) + (ours is not None) > 1:
        told = ", ".join(["nextplay"] * (ours is not None) + [_package(one) for one in added])
        raise KindUnfit(f"several packages have a kind {name!r} ({told}): take out all but one")
    return ours if ours is not None or not added else _loaded(added[0])


def _loaded(point: EntryPoint) -> Kind[Any]:
    try:
        kind = point.load()
    except Exception as error:  # a package may fail on anything
        raise KindUnfit(
            f"the package {_package(point)} can't load its kind {point.name!r}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(kind, Kind):
        raise KindUnfit(
            f"the package {_package(point)} gives for {point.name!r} no Kind but {type(kind).__name__}"
        )
    return kind


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
