"""What was asked under idempotency keys and is not answered yet: who asks the same gets the same answer."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

from decision.answers import DecideAnswer
from decision.recording import Key


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request under a key whose answer is not durable yet."""

    key: Key
    answer: Future[DecideAnswer]


class UnderWay:
    """Answers to come, by the keys they were asked under. Thread-safe."""

    def __init__(self) -> None:
        self._asked: dict[str, _Asked] = {}

    def follow(self, asked: Key) -> Future[DecideAnswer] | None:
        """Return a future of its own that ends as the answer under way does, None where none is.

        Raises:
            KeyReused: the answer under way is to another request.
        """
        earlier = self._asked.get(asked.name)
        if earlier is None:
            return None
        asked.check(earlier.key.fingerprint)
        own: Future[DecideAnswer] = Future()

        def copy(done: Future[DecideAnswer]) -> None:
            if done.cancelled():
                own.cancel()
            if not own.set_running_or_notify_cancel():
                return
            error = done.exception()
            if error is None:
                own.set_result(done.result())
            else:
                own.set_exception(error)

        earlier.answer.add_done_callback(copy)
        return own

    def begin(self, asked: Key, answer: Future[DecideAnswer]) -> None:
        """Let others who ask the same follow this answer until it is there."""
        self._asked[asked.name] = _Asked(asked, answer)
        answer.add_done_callback(lambda _: self._asked.pop(asked.name, None))
