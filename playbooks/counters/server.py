"""The Valkey server: scripts in one round trip, short patience, and no patience at all after a failure.

Scripts carry the id of the server's run in their text. A server that was restarted, or another that took
over, does not know them, so a script never counts on what a former run may have lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from playbooks.errors import CountersUnreachable
from storage.errors import ConfigurationError

if TYPE_CHECKING:
    from redis import Redis

_LUA = Path(__file__).parent / "lua"
_SCHEMES = ("redis", "rediss", "unix")
# How long one call may take; a decision waits for no more than a few of them.
PATIENCE_SECONDS = 0.05
# How long nobody asks again after calls failed.
PAUSE_SECONDS = 1.0
# Scripts of one round trip; so few are done long before the patience ends.
_AT_ONCE = 256
# Failures in a row; one alone may be a process that was held up itself.
_FAILURES = 3


class Call(NamedTuple):
    """A script to be run on these keys."""

    script: str
    keys: Sequence[str]
    arguments: Sequence[str | int]


class Breaker:
    """Refuses at once for `pause` seconds after failures in a row, then lets one caller try at a time."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._until = 0.0
        self._failures = 0
        self._lock = threading.Lock()

    def passes(self) -> bool:
        """Whether the caller may try now."""
        if not self._until:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._until:
                return False
            self._until = now + self._pause
            return True

    def failed(self) -> None:
        """A try failed."""
        with self._lock:
            self._failures += 1
            if self._failures >= _FAILURES:
                self._until = time.monotonic() + self._pause

    def worked(self) -> None:
        """A try worked."""
        if self._failures:
            with self._lock:
                self._failures, self._until = 0, 0.0


class Server:
    """Runs the scripts of `lua/` on one server. Thread-safe."""

    def __init__(self, url: str, *, patience: float = PATIENCE_SECONDS, pause: float = PAUSE_SECONDS) -> None:
        """Connect.

        Raises:
            ConfigurationError: the URL can't be understood, or the server may evict keys.
            CountersUnreachable: nothing answers there.
        """
        self._shown = _without_password(url)
        self._breaker = Breaker(pause)
        self._client = _client(url, self._shown, patience)
        self._hashes: Mapping[str, str] = {}
        self._preparing = threading.Lock()
        try:
            memory: Any = self._client.info("memory")
        except _failures() as error:
            raise CountersUnreachable(
                f"no counters answer at {self._shown} ({_said(error)}): start Valkey there, or leave "
                "NEXTPLAY_COUNTERS_URL empty to count in the database"
            ) from error
        if memory.get("maxmemory") and memory.get("maxmemory_policy") != "noeviction":
            raise ConfigurationError(
                f"the server at {self._shown} may throw counters away when its memory is full "
                f"(maxmemory-policy {memory['maxmemory_policy']}): set it to noeviction"
            )

    def run(self, script: str, keys: Sequence[str], arguments: Sequence[str | int]) -> list[Any]:
        """Run a script and return its reply, whose first item is a word.

        Raises:
            CountersUnreachable: the server does not answer in time, or did not a moment ago.
        """
        return list(self._try(lambda: self._evaluate(script, keys, arguments)))

    def run_all(self, calls: Sequence[Call]) -> list[list[Any]]:
        """Run scripts one after the other, many in a round trip; return the reply of each.

        Raises:
            CountersUnreachable: as `run`; some of them may have run.
        """
        replies: list[list[Any]] = []
        for start in range(0, len(calls), _AT_ONCE):
            replies += self._try(partial(self._evaluate_all, calls[start : start + _AT_ONCE]))
        return replies

    def fill(self, total: str, open_: str, amounts: Mapping[str, int], ends: Mapping[str, int]) -> None:
        """Add a part of a budget's open reservations to keys that vanish soon unless they are used.

        Raises:
            CountersUnreachable: as `run`.
        """
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hset(total, mapping=dict(amounts))
        pipeline.zadd(open_, dict(ends))
        pipeline.expire(total, _UNFINISHED_SECONDS)
        pipeline.expire(open_, _UNFINISHED_SECONDS)
        self._try(pipeline.execute)

    def keys(self, pattern: str) -> list[str]:
        """Return all keys that match.

        Raises:
            CountersUnreachable: as `run`.
        """
        found: list[bytes] = self._try(lambda: list(self._client.scan_iter(match=pattern, count=1000)))
        return sorted(key.decode() for key in found)

    def delete(self, keys: Sequence[str]) -> int:
        """Delete keys, each by itself, for they may lie on different nodes; returns how many there were.

        Raises:
            CountersUnreachable: as `run`.
        """
        return sum(int(self._try(partial(self._client.delete, key))) for key in keys)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _try(self, call: Any) -> Any:
        if not self._breaker.passes():
            raise CountersUnreachable(f"the counters at {self._shown} did not answer a moment ago; try again")
        try:
            result = call()
        except _failures() as error:
            self._breaker.failed()
            raise CountersUnreachable(
                f"the counters at {self._shown} do not answer ({_said(error)}); try again"
            ) from error
        self._breaker.worked()
        return result

    def _evaluate(self, script: str, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        from redis.exceptions import NoScriptError  # noqa: PLC0415 - only where counters are kept there

        hashes = self._hashes or self._prepare(self._hashes)
        try:
            return self._client.evalsha(hashes[script], len(keys), *keys, *arguments)
        except NoScriptError:
            # Another run of the server, or its scripts were flushed.
            hashes = self._prepare(hashes)
            return self._client.evalsha(hashes[script], len(keys), *keys, *arguments)

    def _evaluate_all(self, calls: Sequence[Call]) -> list[list[Any]]:
        from redis.exceptions import NoScriptError  # noqa: PLC0415 - as above

        hashes = self._hashes or self._prepare(self._hashes)
        pipeline = self._client.pipeline(transaction=False)
        for one in calls:
            pipeline.evalsha(hashes[one.script], len(one.keys), *one.keys, *one.arguments)
        replies = pipeline.execute(raise_on_error=False)
        for place, (one, reply) in enumerate(zip(calls, replies, strict=True)):
            if isinstance(reply, NoScriptError):
                replies[place] = self._evaluate(*one)
            elif isinstance(reply, Exception):
                raise reply
        return [list(reply) for reply in replies]

    def _single(self) -> Redis:
        one: Redis = self._client.client()  # type: ignore[no-untyped-call]
        return one

    def _prepare(self, before: Mapping[str, str]) -> Mapping[str, str]:
        """Give the server the scripts for its present run, unless another thread just has."""
        with self._preparing:
            if self._hashes is before or not self._hashes:
                # One connection, so that the run that is asked about is the one that gets the scripts.
                with self._single() as one:
                    run = one.info("server")["run_id"]
                    self._hashes = {
                        name: one.script_load(f"local RUN = '{run}'\n{text}")
                        for name, text in _texts().items()
                    }
            return self._hashes


_UNFINISHED_SECONDS = 60


@cache
def _texts() -> Mapping[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(_LUA.glob("*.lua"))}


def _client(url: str, shown: str, patience: float) -> Redis:
    # The package costs a tenth of a second to import, needed only where counters are kept there.
    from redis import Redis  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    if urlsplit(url).scheme not in _SCHEMES:
        raise ConfigurationError(
            f"the counters' URL {shown!r} can't be understood; write redis://host:6379/0"
        )
    try:
        return Redis.from_url(
            url, socket_timeout=patience, socket_connect_timeout=patience, retry=Retry(NoBackoff(), 0)
        )
    except ValueError as error:
        raise ConfigurationError(
            f"the counters' URL {shown!r} can't be understood ({error}); write redis://host:6379/0"
        ) from error


@cache
def _failures() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisError  # noqa: PLC0415

    return (RedisError, OSError)


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=f"***@{parts.netloc.rpartition('@')[2]}"))
