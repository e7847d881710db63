"""All channels by name. A new one is a module beside this one and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from delivery.channels.channel import Channel
from delivery.channels.mailbox import Mailbox
from delivery.channels.webhook import WEBHOOK, Webhooks


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """What channels are opened with.

    `folder` is where local ones keep their files, `secret` signs what is told to other systems.
    """

    folder: Path
    secret: str | None = None


CHANNELS: Mapping[str, Callable[[ChannelSettings], Channel]] = {
    "mailbox": lambda settings: Mailbox(settings.folder / "mailbox"),
}


def open_channels(settings: ChannelSettings) -> dict[str, Channel]:
    """Open every channel that variants may name, and the way by which flows tell other systems."""
    opened = {name: factory(settings) for name, factory in CHANNELS.items()}
    return {**opened, WEBHOOK: Webhooks(settings.secret)}
