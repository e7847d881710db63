"""Requests to providers: bounded in time and in what is read of the answer, redirects never followed.

The time that a request may take is one for all of it, from the connection to the last byte of the answer, so
that an answer that comes drop by drop ends too. Addresses are looked up here and what was looked up is
connected to: a name can't mean one address when it is checked and another one when it is used. Proxies of the
environment are not used, for they would connect by themselves.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Final, NamedTuple

import httpcore2
import httpx2

SECONDS: Final = 10.0
# Enough for any answer that says what became of one message.
MOST_BYTES: Final = 64 * 1024
_CONNECTIONS = 100
_IDLE_SECONDS = 20.0

# When the request of this thread has to be through, by `time.monotonic`.
_until: ContextVar[float] = ContextVar("until")


class Reply(NamedTuple):
    """A provider's answer; `whole` says whether `body` is all of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True


class NotReached(Exception):
    """There is no answer. `asked`: the request may have arrived. `refused`: nobody may go there."""

    def __init__(self, message: str, *, asked: bool = False, refused: bool = False) -> None:
        super().__init__(message)
        self.asked, self.refused = asked, refused


class Http:
    """Posts to providers over connections that are kept. Thread-safe."""

    def __init__(
        self,
        seconds: float = SECONDS,
        most: int = MOST_BYTES,
        allowed: Callable[[str], bool] = lambda _address: True,
    ) -> None:
        """Bound requests.

        Args:
            seconds: that one may take.
            most: bytes of an answer that are read.
            allowed: says whether an address may be connected to.
        """
        self._seconds, self._most = seconds, most
        self._pool = httpcore2.ConnectionPool(
            max_connections=_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=_Backend(allowed),
        )

    def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Reply:
        """Post, and return the answer whatever it says.

        Raises:
            NotReached: there is none in time, or the address is refused.
        """
        try:
            target, where = _parsed(url)
        except httpx2.InvalidURL as error:
            raise NotReached(f"{url} is no URL: {error}") from error
        sent = {"host": target.netloc.decode("ascii"), "content-length": str(len(content)), **headers}
        _until.set(time.monotonic() + self._seconds)
        timeout = {
            "connect": self._seconds,
            "read": self._seconds,
            "write": self._seconds,
            "pool": self._seconds,
        }
        try:
            with self._pool.stream(
                "POST", where, headers=list(sent.items()), content=content, extensions={"timeout": timeout}
            ) as response:
                body, whole = self._read(response.iter_stream())
                told = {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in response.headers
                }
                return Reply(response.status, told, body, whole)
        except _Refused as error:
            raise NotReached(f"{target.host} {error}", refused=True) from error
        except (httpcore2.ConnectError, httpcore2.ConnectTimeout, httpcore2.PoolTimeout) as error:
            raise NotReached(f"{target.host} can't be reached: {_said(error, self._seconds)}") from error
        except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            message = f"{target.host} did not answer: {_said(error, self._seconds)}"
            raise NotReached(message, asked=True) from error

    def close(self) -> None:
        """Let go of all connections."""
        self._pool.close()

    def _read(self, stream: Iterable[bytes]) -> tuple[bytes, bool]:
        body = b""
        for piece in stream:
            body += piece
            if len(body) > self._most:
                return body[: self._most], False
        return body, True


class _Refused(Exception):
    pass


class _Stream(httpcore2.NetworkStream):
    """A connection whose every step ends when the request's time is up."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(httpcore2.WriteTimeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        left = _left(httpcore2.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


class _Backend(httpcore2.SyncBackend):
    def __init__(self, allowed: Callable[[str], bool]) -> None:
        self._allowed = allowed

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from error
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        allowed = [one for one in addresses if self._allowed(one)]
        if not allowed:
            raise _Refused("is inside a private network")
        for place, address in enumerate(allowed):
            try:
                left = _left(httpcore2.ConnectTimeout)
                return _Stream(super().connect_tcp(address, port, left, local_address, socket_options))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if place == len(allowed) - 1:
                    raise
        raise httpcore2.ConnectError(f"{host} has no address")


# A channel posts to the same address over and over.
@lru_cache(maxsize=256)
def _parsed(url: str) -> tuple[httpx2.URL, httpcore2.URL]:
    target = httpx2.URL(url)
    return target, httpcore2.URL(
        scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path
    )


def _left(late: type[Exception]) -> float:
    left = _until.get() - time.monotonic()
    if left <= 0:
        raise late("its time is up")
    return left


def _said(error: Exception, seconds: float) -> str:
    if isinstance(error, httpcore2.TimeoutException):
        return f"not within {seconds:g} s"
    return str(error) or type(error).__name__
