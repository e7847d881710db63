"""All channels by name. A new one is a module beside this one and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from delivery.channels.channel import Channel
from delivery.channels.mailbox import Mailbox


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """What channels are opened with; `folder` is where local ones keep their files."""

    folder: Path


CHANNELS: Mapping[str, Callable[[ChannelSettings], Channel]] = {
    "mailbox": lambda settings: Mailbox(settings.folder / "mailbox"),
}


def open_channels(settings: ChannelSettings) -> dict[str, Channel]:
    """Open every channel."""
    return {name: factory(settings) for name, factory in CHANNELS.items()}
