"""Broken promises: what the harness must notice, put into a process before it starts.

Each alteration takes one step of durability or exclusion out of the running code.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

# Names of the files in which is noted what a service did.
HAND_OVERS = "hand-overs.jsonl"
SYNCS = "syncs.txt"


class HandOver(msgspec.Struct, frozen=True):
    """A message was handed to its channel; `at` in nanoseconds on the machine's monotonic clock."""

    key: str
    process: int
    at: int


def note_hand_overs(file: Path) -> None:
    """Append a line to `file` for every message the mailbox has taken (no promise is broken by this)."""
    from delivery.channels.mailbox import Mailbox

    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    send = Mailbox.send

    def noted(self: Mailbox, message: Any) -> Any:
        receipt = send(self, message)
        line = msgspec.json.encode(HandOver(message.key, os.getpid(), time.monotonic_ns()))
        os.write(handle, line + b"\n")
        return receipt

    Mailbox.send = noted  # type: ignore[method-assign]


def note_syncs(file: Path) -> None:
    """Append to `file` the path of every file forced to disk (no promise is broken by this).

    Only what Python code forces is seen, not what SQLite does.
    """
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    fsync = os.fsync

    def noted(fd: Any) -> None:
        fsync(fd)
        number = fd if isinstance(fd, int) else fd.fileno()
        os.write(handle, os.fsencode(Path(f"/proc/self/fd/{number}").readlink()) + b"\n")

    os.fsync = noted


def no_fsync() -> None:
    """Force nothing to disk any more that Python code should."""

    def leave(fd: Any) -> None:
        """The operating system will write it when it likes."""

    os.fsync = leave


def slow_hand_overs(seconds: float) -> None:
    """Take so long for each message, as a provider would (no promise is broken by this)."""
    from delivery.channels.mailbox import Mailbox

    send = Mailbox.send

    def slow(self: Mailbox, message: Any) -> Any:
        time.sleep(seconds)
        return send(self, message)

    Mailbox.send = slow  # type: ignore[method-assign]


def acknowledge_before_commit() -> None:
    """Answer before the transaction has ended: what a writer without a durable commit would do."""
    from storage import sqlite_writer
    from storage.faultpoints import reached
    from storage.statements import forget_deferred, run_deferred

    def commit_together(self: Any, connection: Any, turn: list[Any]) -> float:
        try:
            with connection.begin():
                results = [job.work(connection) for job in turn]
                run_deferred(connection)
                for job, result in zip(turn, results, strict=True):
                    job.future.set_result(result)
                # The disk takes its time; the callers have their answer.
                time.sleep(0.05)
                reached("writer.before_commit")
        except Exception as error:  # noqa: BLE001 - as in the writer
            forget_deferred(connection)
            for job in turn:
                if not job.future.done():
                    job.future.set_exception(error)
        return 0.0

    sqlite_writer.SqliteWriter._commit_together = commit_together  # type: ignore[method-assign]


def no_message_lease() -> None:
    """Hand messages over without leasing them: another relay finds them as free as this one did."""
    import msgspec

    from delivery import outbox_repository as repository

    def lease(_connection: Any, claimed: Any, holder: str, _until: Any) -> Any:
        return [msgspec.structs.replace(one, attempts=one.attempts + 1, holder=holder) for one in claimed]

    def still_held(_connection: Any, held: Any) -> set[str]:
        return {one.key for one in held}

    repository.lease = lease  # type: ignore[assignment]
    repository.still_held = still_held  # type: ignore[assignment]


ALTERATIONS: Mapping[str, Callable[[], None]] = {
    "acknowledge_before_commit": acknowledge_before_commit,
    "no_message_lease": no_message_lease,
    "no_fsync": no_fsync,
    "slow_hand_overs": partial(slow_hand_overs, 0.005),
    "very_slow_hand_overs": partial(slow_hand_overs, 0.05),
}
