"""What is read from files and may be changed while the service runs: swapped as a whole, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from audiences.errors import PlanError
from audiences.events import Event
from audiences.machines.machines import KnownMachines
from audiences.plan.plan import Plan

_log = structlog.get_logger(__name__)

T = TypeVar("T")
Signature = tuple[tuple[str, int, int], ...]


class Live(Generic[T]):
    """What the files of a folder say now. Wrong files are refused and what was live stays. Thread-safe."""

    def __init__(self, folder: Path, read: Callable[[Path], T]) -> None:
        """Read the folder.

        Raises:
            PlanError: a file is wrong.
        """
        self._folder = folder
        self._read = read
        self._lock = threading.Lock()
        self._seen = _signature(folder)
        self.value = read(folder)
        self.refused = ""

    def reload(self) -> T:
        """Read the files again and let what they say be live.

        Raises:
            PlanError: a file is wrong; what was live stays.
        """
        with self._lock:
            # Before reading: what changes meanwhile is seen as a change the next time.
            self._seen = _signature(self._folder)
            try:
                self.value = self._read(self._folder)
            except PlanError as error:
                self.refused = str(error)
                raise
            self.refused = ""
            return self.value

    def follow(self) -> None:
        """Reload if a file changed since the last look; what is wrong is said in the log, once."""
        if _signature(self._folder) == self._seen:
            return
        try:
            self.reload()
        except PlanError as error:
            _log.warning("the files are wrong; what was live stays", code=error.code, error=str(error))
        else:
            _log.info("what the files say is live", folder=self._folder.name)


class LivePlan:
    """The tracking plan that holds now (see `audiences.intake.ports.TrackingPlan`)."""

    def __init__(self, live: Live[Plan]) -> None:
        self._live = live

    def check(self, event: Event) -> tuple[Event, str]:
        # One look at the reference: an event is judged by one plan, whatever is swapped meanwhile.
        return self._live.value.check(event)


class LiveMachines:
    """The machines that are known now (see `audiences.intake.ports.Machines`)."""

    def __init__(self, live: Live[KnownMachines]) -> None:
        self._live = live

    def why(self, event: Event) -> str:
        return self._live.value.why(event)


def _signature(folder: Path) -> Signature:
    if not folder.is_dir():
        return ()
    found = []
    for path in sorted(folder.iterdir()):
        try:
            stat = path.stat()
        except OSError:
            continue
        found.append((path.name, stat.st_mtime_ns, stat.st_size))
    return tuple(found)
