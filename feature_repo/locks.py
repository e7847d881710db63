"""One writer at a time, of all threads and processes that share a folder."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Self

from filelock import FileLock

from feature_repo.disk import using


class StoreLock:
    """Lets one thread of one process at a time into a block, of all that share the folder of `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.Lock()
        self._processes = FileLock(path, thread_local=False)

    def __enter__(self) -> Self:
        self._threads.acquire()
        try:
            with using(self._path.parent):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._processes.acquire()
        except BaseException:
            self._threads.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.release()
        self._threads.release()
