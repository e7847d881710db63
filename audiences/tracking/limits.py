"""What a message may hold. Where Segment's own service has a limit, ours is the same."""

from __future__ import annotations

MAX_MESSAGE_BYTES = 32 * 1024
MAX_BATCH_BYTES = 500 * 1024
MAX_BATCH_MESSAGES = 2_500
# Of `properties`, `traits` and `context` each.
MAX_KEYS = 1_000
MAX_ID_LENGTH = 255
# Objects and lists inside each other, the message itself being the first.
MAX_DEPTH = 32
# Whole numbers that the history's columns and every client can hold.
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1
