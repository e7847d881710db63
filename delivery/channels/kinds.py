"""What a kind of channel is: which settings it takes from `channels.yaml`, and how it is opened with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from delivery.channels.channel import Channel
from delivery.channels.links import Links, NoLinks
from playbooks.document import Document
from storage.clock import Clock, SystemClock
from storage.engine import Database
from storage.errors import ConfigurationError

S = TypeVar("S", bound=Document)


@dataclass(frozen=True, slots=True)
class Opening:
    """What a channel may use of the service that opens it.

    `folder` is where it may keep files, `secrets` are all by the names that settings of channels give.
    """

    folder: Path
    database: Database
    clock: Clock = field(default_factory=SystemClock)
    secrets: Mapping[str, str] = field(default_factory=dict)
    links: Links = field(default_factory=NoLinks)

    def secret(self, name: str) -> str:
        """Return a secret. Raises ConfigurationError where nobody set it."""
        try:
            return self.secrets[name]
        except KeyError:
            raise ConfigurationError(
                f"there is no secret {name!r}: set it in NEXTPLAY_CHANNEL_SECRETS, a JSON object of secrets "
                "by their names"
            ) from None


@dataclass(frozen=True, slots=True)
class Kind(Generic[S]):
    """A kind of channel.

    `settings` reads the section of that name. `open` gets what it read, the channel's name, and what the
    service has; it connects to nobody yet. Raises ConfigurationError where a secret is missing.
    """

    settings: type[S]
    open: Callable[[S, str, Opening], Channel]


class NoSettings(Document):
    """There is nothing to set."""
