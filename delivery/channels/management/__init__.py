"""How a channel is used: how fast, by how many at once, up to which number, and what if it fails."""

from delivery.channels.management.documents import LOCAL, Breaker, Management, Quota, Rate

__all__ = ["LOCAL", "Breaker", "Management", "Quota", "Rate"]
