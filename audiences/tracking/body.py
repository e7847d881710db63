"""The body of a request, inflated if it is gzipped, never larger than its route takes."""

from __future__ import annotations

import zlib

from starlette.requests import Request

from audiences.errors import ContentTooLarge, EncodingUnknown, EventRefused

_GZIP = 16 + zlib.MAX_WBITS
_NONE, _ZIPPED = ("", "identity"), ("gzip", "x-gzip")


async def read(request: Request, limit: int) -> bytes:
    """Return the body of a request, at most `limit` bytes.

    Raises:
        EncodingUnknown: it is encoded otherwise than by gzip.
        ContentTooLarge: it has more bytes than that, counted while it is inflated.
        EventRefused: it is no gzip although it says so.
    """
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding in _NONE:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise _too_large(limit)
        return bytes(body)
    if encoding not in _ZIPPED:
        raise EncodingUnknown(f"a body may be gzipped or plain, not {encoding[:40]!r}")
    inflating = Inflating(limit)
    async for chunk in request.stream():
        inflating.add(chunk)
    return inflating.end()


class Inflating:
    """Inflates gzip piece by piece and gives up as soon as there is more than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inflater = zlib.decompressobj(_GZIP)
        self._inflated = bytearray()
        self._begun = False

    def add(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            ContentTooLarge, EventRefused: as `read` says.
        """
        while piece:
            if self._inflater.eof:
                # A gzip file may have several members, one after the other.
                self._inflater = zlib.decompressobj(_GZIP)
            room = self._limit - len(self._inflated)
            try:
                self._inflated += self._inflater.decompress(piece, room + 1)
            except zlib.error as error:
                raise EventRefused(
                    f"the body is no gzip, although Content-Encoding says so: {error}"
                ) from error
            if len(self._inflated) > self._limit:
                raise _too_large(self._limit)
            self._begun = True
            piece = self._inflater.unused_data or self._inflater.unconsumed_tail

    def end(self) -> bytes:
        """Return all that was inflated.

        Raises:
            EventRefused: the gzip is not complete.
        """
        if self._begun and not self._inflater.eof:
            raise EventRefused("the body's gzip ends too early: send all of it")
        return bytes(self._inflated)


def _too_large(limit: int) -> ContentTooLarge:
    return ContentTooLarge(
        f"the body has more than the {limit} bytes that are taken here, inflated if it is gzipped: "
        "send less at a time"
    )
