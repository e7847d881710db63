"""The key of a request that has no Authorization header: `writeKey` in the body, as some SDKs send it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from starlette.types import Message, Receive, Scope

from audiences.errors import AudiencesError
from audiences.tracking.body import Inflating
from audiences.tracking.limits import MAX_BATCH_BYTES


class _Body(msgspec.Struct, rename="camel"):
    write_key: str = ""


_decode = msgspec.json.Decoder(_Body).decode


async def found(scope: Scope, receive: Receive) -> tuple[bytes | None, Receive]:
    """Return a body's write key as a header would present it, and what gives that body once more.

    The key is None where there is none or the body can't be read. How much is read is up to whoever counts
    the bytes that `receive` gives.
    """
    read: list[Message] = []
    while True:
        message = await receive()
        read.append(message)
        if message["type"] != "http.request" or not message.get("more_body", False):
            break
    waiting = iter(read)

    async def again() -> Message:
        for message in waiting:
            return message
        return await receive()

    key = _key(scope, (message.get("body", b"") for message in read))
    return (f"Bearer {key}".encode(errors="replace") if key else None), again


def _key(scope: Scope, pieces: Iterable[bytes]) -> str:
    try:
        return _decode(_plain(scope, pieces)).write_key
    except (AudiencesError, ValueError, RecursionError):
        return ""


def _plain(scope: Scope, pieces: Iterable[bytes]) -> bytes:
    if not any(name == b"content-encoding" and b"gzip" in value.lower() for name, value in scope["headers"]):
        return b"".join(pieces)
    inflating = Inflating(MAX_BATCH_BYTES)
    for piece in pieces:
        inflating.add(piece)
    return inflating.end()
