"""What the sandbox took, and how it is told to behave. Thread-safe."""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

# A sandbox that runs for weeks keeps the newest only.
_MOST = 100_000


class Taken(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message that was taken: over which protocol, for whom, what it says; `id` is its name here.

    `asked` counts how often it was handed over: repeats under one key are one message.
    """

    id: str
    protocol: str
    to: str
    text: str
    key: str = ""
    subject: str = ""
    headers: dict[str, str] = {}
    at: datetime | None = None
    asked: int = 1


class Behaviour(BaseModel):
    """What the sandbox does with the next `times` messages, instead of taking them.

    `slow` answers after `seconds`, `refuse` with `status`; `lie` says that all is well, with an error in the
    body; `empty`, `malformed`, `endless` and `drip` are answers that say nothing, nothing that can be read,
    or never end. All but `refuse` and `lie` take the message.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    do: Literal["slow", "refuse", "lie", "empty", "malformed", "endless", "drip"]
    times: int = Field(default=1, ge=1, le=1_000_000)
    seconds: float = Field(default=1, ge=0, le=600)
    status: Annotated[int, Field(ge=300, le=599)] = 503
    retry_after: int | None = Field(default=None, ge=0)

    @property
    def takes(self) -> bool:
        return self.do not in ("refuse", "lie")


class Taking:
    """Keeps messages by protocol and key, in the order in which they came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: OrderedDict[tuple[str, str], Taken] = OrderedDict()
        self._behaviours: list[Behaviour] = []
        self._number = 0

    def behave(self, behaviour: Behaviour) -> None:
        """Do this with the messages that come after those that earlier behaviours are for."""
        with self._lock:
            self._behaviours += [behaviour] * behaviour.times

    def next(self) -> Behaviour | None:
        """Return how to behave with the message that is there, None: as a provider should."""
        with self._lock:
            return self._behaviours.pop(0) if self._behaviours else None

    def take(
        self,
        protocol: str,
        to: str,
        text: str,
        *,
        key: str = "",
        subject: str = "",
        headers: dict[str, str] | None = None,
    ) -> Taken:
        """Take a message; one with a key that is known is the same message again."""
        with self._lock:
            self._number += 1
            id_ = f"{self._number:032x}"
            known = self._taken.get((protocol, key)) if key else None
            if known is None:
                one = Taken(id_, protocol, to, text, key, subject, headers or {}, datetime.now(UTC))
            else:
                one = msgspec.structs.replace(known, asked=known.asked + 1)
            self._taken[protocol, key or id_] = one
            while len(self._taken) > _MOST:
                self._taken.popitem(last=False)
            return one

    def all(self) -> list[Taken]:
        """Return what was taken."""
        with self._lock:
            return list(self._taken.values())

    def forget(self) -> None:
        """Begin anew: nothing was taken, and nothing is to go wrong."""
        with self._lock:
            self._taken.clear()
            self._behaviours.clear()
