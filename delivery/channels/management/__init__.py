"""How a channel is used: how fast, by how many at once, up to which number, and what if it fails."""

from delivery.channels.management.documents import LOCAL, Management

__all__ = ["LOCAL", "Management"]
