"""Doubles for tests of delivery and of what stands on it: plans in memory, an obedient channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Connection

from delivery.channels.channel import AfterCrash, Receipt
from delivery.errors import UnknownVersion
from delivery.models import Message
from delivery.plans import Plan
from delivery.retry import Retry
from playbooks.library import VersionBody


class MemoryPlans:
    """Plans of given versions; `forget` makes one unknown."""

    def __init__(self, bodies: Mapping[int, VersionBody]) -> None:
        self._plans = {
            (body.playbook.id, version): Plan.of(body, version) for version, body in bodies.items()
        }

    def find(self, connection: Connection, playbook: str, version: int) -> Plan:
        try:
            return self._plans[playbook, version]
        except KeyError:
            raise UnknownVersion(
                f"the library has no version {version} of the playbook {playbook!r}"
            ) from None

    def forget(self, playbook: str, version: int) -> None:
        """Make a version unknown."""
        del self._plans[playbook, version]


class MemoryChannel:
    """Keeps what it is sent, by key, and every hand-over in order.

    `before` and `after` are called with each message around its taking; what they raise, `send` raises.
    """

    def __init__(
        self,
        *,
        after_crash: AfterCrash = AfterCrash.REPEAT,
        retry: Retry | None = None,
        before: Callable[[Message], None] | None = None,
        after: Callable[[Message], None] | None = None,
    ) -> None:
        self.after_crash = after_crash
        self.retry = retry or Retry()
        self.before = before
        self.after = after
        self.messages: dict[str, Message] = {}
        self.handed_over: list[str] = []

    def send(self, message: Message) -> Receipt:
        if self.before is not None:
            self.before(message)
        self.handed_over.append(message.key)
        self.messages[message.key] = message
        if self.after is not None:
            self.after(message)
        return Receipt(message.key)


def once(error: BaseException) -> Callable[[Message], None]:
    """Return a `before` or `after` that raises `error` at its first message and does nothing from then on."""
    left = [error]

    def fail(_message: Message) -> None:
        if left:
            raise left.pop()

    return fail
