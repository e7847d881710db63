"""The Ray cluster that a process uses, joined when it is first needed."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from audiences.errors import ClusterUnreachable

# The address that means a Ray of this process's own.
LOCAL = "local"
# Linux ends the processes of a local Ray with the thread that started them, so that one has to stay.
_STARTER = ThreadPoolExecutor(1, thread_name_prefix="ray")


def joined(address: str) -> Any:
    """Return the module `ray`, once this process is part of the cluster at an address.

    Raises:
        ClusterUnreachable: it can't be joined, or `local` not be started.
    """
    import ray  # noqa: PLC0415 - seconds, for those who configure it
    import ray.data  # noqa: PLC0415

    if not ray.is_initialized():
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        ray.data.DataContext.get_current().enable_progress_bars = False
        start = partial(
            ray.init,
            address=None if address == LOCAL else address,
            include_dashboard=False if address == LOCAL else None,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
        try:
            _STARTER.submit(start).result()
        except Exception as error:  # Ray has no type of its own for what keeps it from starting
            raise ClusterUnreachable(
                f"Ray can't be used at {address!r} ({error}); what was live stays live: start the "
                "cluster, or correct NEXTPLAY_RAY_ADDRESS or leave it empty"
            ) from error
    return ray
