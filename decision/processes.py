"""Several processes over one Postgres: which does what, whose turn it is, and what others have published.

A process has roles: `api` answers requests, each other role is a job of the loop. `deliver` may run in any
number of processes; every other job runs in one at a time, the one that holds the lease of its name. On
SQLite there is one process and nothing to agree on.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import msgspec
import structlog

from storage.errors import ConfigurationError, NextplayError
from storage.leases import Lease, LeaseHeld, LeaseLost, Leases

_log = structlog.get_logger(__name__)

API = "api"
# Jobs that one process at a time may run: they move a cursor, or write what can be written once only.
SINGLETONS = (
    "push",
    "features",
    "audiences",
    "scores",
    "triggers",
    "machines",
    "quality",
    "liveness",
    "receipts",
    "protect",
    "reward",
    "pilots",
    "learn",
    "shadow",
    "ledger",
)
JOBS = ("deliver", *SINGLETONS)
ROLES = (API, *JOBS)

# Every process holds a lease of its own name, by which others know that it lives.
_LIFE = "process/"
_RENEWALS_A_LEASE = 3
# A process counts as dead after this many leases; its messages are then taken back.
_LEASES_A_LIFE = 3
# Seconds until a signal is noticed.
_SIGNAL_SECONDS = 0.05


class Process(msgspec.Struct, frozen=True):
    """What one process of the service does and how it goes.

    `drain` seconds is how long it may take to stop; before that it says for `notice` seconds that it is not
    ready while it still answers, so that a balancer looks away; `lease` seconds after its death another takes
    over a job it held.
    """

    roles: frozenset[str] = frozenset(ROLES)
    drain: float = 20.0
    notice: float = 0.0
    lease: float = 10.0


def parse_roles(text: str, among: tuple[str, ...] = ROLES) -> frozenset[str]:
    """Return the roles of a comma-separated list.

    Raises:
        ConfigurationError: one of them does not exist, or there is none.
    """
    roles = [role.strip() for role in text.split(",") if role.strip()]
    unknown = [role for role in roles if role not in among]
    if unknown or not roles:
        wrong = f"there is no role {', '.join(map(repr, unknown))}" if unknown else "no role is named"
        raise ConfigurationError(f"{wrong}; the roles are {', '.join(among)}")
    return frozenset(roles)


def process_name() -> str:
    """Return a name that no other process has or ever had."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


class Closed(msgspec.Struct, frozen=True):
    """How a service ended: whether all queued writes were done, and whether nothing is at work any more.

    `jobs` are the names of those that had not ended in time.
    """

    written: bool
    all_ended: bool
    jobs: list[str] = []


class StopSignals:
    """SIGTERM and SIGINT: the first asks the process to stop, the second ends it at once."""

    def __init__(self) -> None:
        """Listen from now on; to be called in the main thread."""
        self._asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._received)

    def wait(self, while_true: Callable[[], bool] = lambda: True) -> bool:
        """Wait until the process is asked to stop, or `while_true` is false; say whether it was asked."""
        # A handler runs between two steps of this very thread, so it could not wake it through a lock.
        while not self._asked and while_true():
            time.sleep(_SIGNAL_SECONDS)
        return self._asked

    def _received(self, number: int, _frame: object) -> None:
        if self._asked:
            os._exit(128 + number)
        self._asked = True


class LeaseKeeper:
    """Keeps the leases of this process: renews what it holds, takes what it wants as soon as it is free."""

    def __init__(self, leases: Leases, name: str, seconds: float, take_back: Callable[[str], object]) -> None:
        """Take the lease of the process's own life; `start` keeps it.

        Args:
            name: of this process, unique (see `process_name`).
            seconds: how long a lease lasts unless renewed.
            take_back: called, in one process, with the name of each that has died.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        self._leases = leases
        self._name = name
        self._seconds = seconds
        self._take_back = take_back
        self._life = _LIFE + name
        self._wanted: tuple[str, ...] = ()
        self._held: dict[str, Lease] = {}
        self._lock = threading.RLock()
        self._steady_since: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
        self._take(self._life)

    def start(self) -> None:
        """Begin to keep what is held."""
        self._thread.start()

    def want(self, names: Iterable[str]) -> None:
        """Take these leases now or as soon as they are free, and keep them."""
        self._wanted = tuple(names)
        self._keep_all()

    def has(self, name: str) -> bool:
        """Whether this process holds a lease now."""
        lease = self._held.get(name)
        return lease is not None and lease.is_current

    @contextmanager
    def taken(self, name: str) -> Iterator[Lease]:
        """Hold a lease while the block runs, whether it is wanted for longer or not.

        Raises:
            LeaseHeld: another process holds it; the message names it.
            DatabaseUnavailable: the database does not answer.
        """
        with self._lock:
            lease = self._held.get(name) or self._take(name)
            if lease is None:
                raise LeaseHeld(
                    f"the job {name!r} runs in another process ({self._leases.holder_of(name)}); it runs by "
                    "itself there, or here once that one has stopped"
                )
        try:
            yield lease
        finally:
            if name not in self._wanted:
                self._let_go(name)

    def stop(self) -> None:
        """Give back everything that is held."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        for name in list(self._held):
            self._let_go(name)
        self._leases.close()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds / _RENEWALS_A_LEASE):
            self._keep_all()

    def _keep_all(self) -> None:
        try:
            for name in {self._life: None, **dict.fromkeys(self._wanted), **self._held}:
                with self._lock:
                    self._keep(name)
            self._bury_the_dead()
        except NextplayError as error:
            self._steady_since = None
            _log.warning("leases can't be renewed", code=error.code, error=str(error))
        except Exception:  # noqa: BLE001 - a failed renewal must not end all later ones
            self._steady_since = None
            _log.exception("leases can't be renewed")

    def _keep(self, name: str) -> None:
        lease = self._held.get(name)
        if lease is None:
            self._take(name)
            return
        try:
            self._held[name] = self._leases.renew(lease, self._lasts(name))
        except LeaseLost as lost:
            del self._held[name]
            _log.warning("lease lost", lease=name, error=str(lost))

    def _take(self, name: str) -> Lease | None:
        lease = self._leases.acquire(name, self._name, self._lasts(name))
        if lease is not None:
            self._held[name] = lease
            _log.info("lease taken", lease=name, token=lease.token)
        return lease

    def _let_go(self, name: str) -> None:
        with self._lock:
            lease = self._held.pop(name, None)
            if lease is None:
                return
            try:
                if name == self._life:
                    self._leases.forget(lease)
                else:
                    self._leases.release(lease)
            except NextplayError as error:
                _log.warning("lease ends by itself", lease=name, error=str(error))

    def _bury_the_dead(self) -> None:
        """Take back what processes held that have not renewed their life for as long as we have kept ours.

        After an outage of the database every lease has ended, of the living too; so they are given the time
        to say so first.
        """
        now = time.monotonic()
        self._steady_since = self._steady_since or now
        if now - self._steady_since < self._seconds:
            return
        for name in self._leases.abandoned(_LIFE):
            grave = self._leases.acquire(name, self._name, self._lasts(name))
            if grave is not None:
                process = name.removeprefix(_LIFE)
                _log.warning("process is gone, its messages are taken back", process=process)
                self._take_back(process)
                self._leases.forget(grave)

    def _lasts(self, name: str) -> timedelta:
        return timedelta(seconds=self._seconds * (_LEASES_A_LIFE if name.startswith(_LIFE) else 1))


def within(until: float, end: Callable[[], object]) -> bool:
    """Call `end`, wait for it no longer than `until` on the monotonic clock; say whether it ended."""
    thread = threading.Thread(target=end, name="closing", daemon=True)
    thread.start()
    thread.join(max(0.0, until - time.monotonic()))
    return not thread.is_alive()
