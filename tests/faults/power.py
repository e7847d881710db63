"""A power cut under SQLite, without one: what of its files had been forced to disk, and nothing else.

SQLite reaches its files through a table of functions, one table for each open file. `Disk` puts a function of
its own in the place of `xSync` (https://sqlite.org/c3ref/io_methods.html), which lets the real one work and
then keeps a copy of the file: what a machine finds again whose operating system had written nothing else yet.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

# From sqlite3.h: which pointer `sqlite3_file_control` is to return.
_FILE_POINTER, _JOURNAL_POINTER = 7, 28
# `sqlite3_io_methods` is a version number and 18 functions, of which xSync is the fifth.
_METHODS, _SYNC = 19, 5

_Sync = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


class Disk:
    """What is durable of one database: its file and its log, as they were when they were last forced."""

    def __init__(self, database: Path, durable: Path) -> None:
        self._library = _library()
        self._database = database
        self._durable = durable
        self._lock = threading.Lock()
        # What C points to must stay where it is.
        self._kept: list[Any] = []
        self._watched: set[int] = set()
        self.syncs = 0
        durable.mkdir()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch every connection that is used in the block, also outside of transactions."""

        def taken(connection: Any, _record: Any, _proxy: Any) -> None:
            self._watch(connection)

        event.listen(Pool, "checkout", taken)
        try:
            yield
        finally:
            event.remove(Pool, "checkout", taken)

    def after_a_cut(self, folder: Path, *, database_written: bool) -> Path:
        """Return a copy of the database as a machine finds it after its power was cut now.

        Of the log only what was forced is there. Of the file too, or (`database_written`) all of it: the
        operating system may write what it was not told to.
        """
        folder.mkdir()
        name = self._database.name
        with self._lock:
            source = self._database.parent if database_written else self._durable
            if (source / name).exists():
                shutil.copyfile(source / name, folder / name)
            if (self._durable / f"{name}-wal").exists():
                shutil.copyfile(self._durable / f"{name}-wal", folder / f"{name}-wal")
        return folder / name

    def _watch(self, connection: Any) -> None:
        first = self._durable / self._database.name
        if not first.exists():
            # Making a file one with a log forces it to disk, before anything can be watched.
            shutil.copyfile(self._database, first)
        # The handle is the first field of Python's connection.
        handle = ctypes.c_void_p.from_address(id(connection) + object.__basicsize__).value
        for which, suffix in ((_FILE_POINTER, ""), (_JOURNAL_POINTER, "-wal")):
            file = ctypes.c_void_p()
            self._library.sqlite3_file_control(handle, b"main", which, ctypes.byref(file))
            if not file.value or not (table := ctypes.c_void_p.from_address(file.value).value):
                continue
            if table in self._watched:
                continue
            methods = (ctypes.c_void_p * _METHODS).from_address(table)
            changed = (ctypes.c_void_p * _METHODS)(*methods)
            sync = _Sync(self._forced(_Sync(methods[_SYNC] or 0), self._database.name + suffix))
            changed[_SYNC] = ctypes.cast(sync, ctypes.c_void_p).value
            self._kept += [changed, sync]
            self._watched.add(ctypes.addressof(changed))
            ctypes.c_void_p.from_address(file.value).value = ctypes.addressof(changed)

    def _forced(self, real: Any, name: str) -> Any:
        def sync(file: int, flags: int) -> int:
            answer: int = real(file, flags)
            with self._lock:
                shutil.copyfile(self._database.parent / name, self._durable / name)
                self.syncs += 1
            return answer

        return sync


def _library() -> Any:
    library = ctypes.CDLL(_sqlite3.__file__)
    try:
        control = library.sqlite3_file_control
    except AttributeError:
        pytest.skip("this Python hides the functions of the SQLite that it was built with")
    control.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
    return library
