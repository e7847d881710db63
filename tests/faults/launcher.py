"""Starts `nextplay` processes quickly: imports once, then forks one for each line it reads.

What is forked runs the command line as it is (`decision.cli.main`); only the seconds that importing Feast
takes are saved, which many kills can't afford. A request is a JSON line on standard input (`Request`); the
answers are JSON lines: `{"started": pid}` and, whenever one ends, `{"ended": pid, "status": waitstatus}`.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from feature_repo.feast_import import import_feast
from storage import faultpoints
from tests.faults import alterations

# What a service imports at its start, and when it first computes features, opens a pool, reads a registry.
_IMPORTED = (
    "uvicorn",
    "feast.infra.offline_stores.duckdb",
    "feast.repo_operations",
    "ibis.backends.duckdb",
    "psycopg_pool",
    "decision.app",
    "decision.cli",
    "decision.wiring",
    "tests.faults.journey",
)
# How soon the end of a process is noticed.
_LOOK_SECONDS = 0.02


class Request(msgspec.Struct, frozen=True):
    """One process to start: its arguments, its log, what differs from the shell's environment.

    It is the function `entry` of a module, `nextplay` unless said otherwise.

    What it says on standard error goes to the file `errors`, or to the log too. Relative paths are from
    `folder`, where there is one.

    In the folder `notes` it is noted which messages were handed over and which files forced to disk;
    `alterations` are names of `tests.faults.alterations`, which break a promise on purpose.
    """

    arguments: list[str]
    log: str
    errors: str | None = None
    environment: dict[str, str] = {}
    folder: str | None = None
    notes: str | None = None
    alterations: list[str] = []
    entry: str = "decision.cli:main"


def serve() -> None:
    """Answer requests until standard input ends, then kill what still runs."""
    _import_all()
    running: set[int] = set()
    requests = sys.stdin.fileno()
    waiting = b""
    _say({"ready": os.getpid()})
    while True:
        readable, _, _ = select.select([requests], [], [], _LOOK_SECONDS)
        if readable:
            data = os.read(requests, 1 << 16)
            if not data:
                break
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                pid = _start(msgspec.json.decode(line, type=Request))
                running.add(pid)
                _say({"started": pid})
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                running.discard(pid)
                _say({"ended": pid, "status": os.waitstatus_to_exitcode(status)})
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _start(request: Request) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _become(request)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - the last thing this process does is to tell of it
        with suppress(OSError):
            traceback.print_exc()
        code = 1
    else:
        code = 0
    for stream in (sys.stdout, sys.stderr):
        # The log may lie on a disk that is full.
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def _become(request: Request) -> None:
    errors = Path(request.errors or request.log)
    with (
        Path(request.log).open("ab") as log,
        errors.open("ab") as said,
        Path(os.devnull).open("rb") as nothing,
    ):
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)
        os.dup2(said.fileno(), 2)
    if request.folder is not None:
        os.chdir(request.folder)
    os.environ.update(request.environment)
    faultpoints.aim(os.environ.get(faultpoints.VARIABLE))
    if request.notes is not None:
        alterations.note_hand_overs(Path(request.notes) / alterations.HAND_OVERS)
        alterations.note_syncs(Path(request.notes) / alterations.SYNCS)
    for name in request.alterations:
        alterations.ALTERATIONS[name]()
    sys.argv = ["nextplay", *request.arguments]
    module, _, name = request.entry.partition(":")
    getattr(importlib.import_module(module), name)()


def _import_all() -> None:
    """Import what a service imports, also lazily, without starting a thread.

    What is there by then stays: those that are forked need not look through it, which would copy it.
    """
    gc.disable()
    import_feast()
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    # At its end the interpreter collects everything, or extension modules complain of what they leak.
    atexit.register(gc.unfreeze)
    gc.enable()


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
