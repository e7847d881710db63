"""Types of records are made known to msgspec while there is one thread.

The first to decode a type has msgspec look at its fields, step by step and in Python; the type says that this
is done before it is. Whoever decodes it meanwhile in another thread ends the process with a segmentation
fault (msgspec 0.22).
"""

from __future__ import annotations

from weakref import WeakSet

import msgspec

_known: WeakSet[type] = WeakSet()


def know_all() -> int:
    """Let msgspec look at all types of records that are defined by now; returns how many it had not seen.

    Call it before threads are started that decode.
    """
    before = len(_known)
    waiting: list[type] = [msgspec.Struct]
    while waiting:
        kinds: list[type] = waiting.pop().__subclasses__()
        for kind in kinds:
            waiting.append(kind)
            if kind not in _known:
                _known.add(kind)
                _look_at(kind)
    return len(_known) - before


def _look_at(kind: type) -> None:
    try:
        msgspec.json.Decoder(kind)
    except (TypeError, NameError):
        # Nothing is ever decoded to it: it has fields of types that msgspec can't make, or that are known to
        # type checkers alone.
        return
