"""Results of tasks that another system brings back by signed callback, each once; or why not."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from delivery.errors import AnswerUnreadable, PersonUnknown, TaskClosed
from delivery.people import repository
from delivery.people.desk import Desk
from delivery.people.models import Caller, Task
from playbooks.suggesting import closest

# By whom a result came that names nobody, and under which name callbacks have their secrets.
SOURCE = "tasks"


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """What a task came to; `by` is the person who did it, by id or by a name that people.yaml has."""

    task_id: str
    result: str
    note: str = ""
    by: str = ""


class Became(StrEnum):
    """What became of a callback."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"


class Answered(msgspec.Struct, frozen=True):
    """What became of a callback, and of which task it was."""

    outcome: Became
    task_id: str
    result: str


_decode = msgspec.json.Decoder(Answer).decode
_MOST_TEXT = 2_000


class Answers:
    """Takes callbacks whose signature was verified."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def take(self, callback_id: str, body: bytes) -> Answered:
        """Record the result that a callback brings; the same callback again changes nothing.

        Raises:
            AnswerUnreadable: it is not of the form of `Answer`.
            TaskUnknown, NoResult, PersonUnknown: it names what is not there.
            TaskClosed: the task was done by somebody else, or its run went on; or the callback's id was
                used for another result.
        """
        answer = _read(body)
        if (known := self._known(callback_id, answer)) is not None:
            return known
        caller = Caller(SOURCE, self._person(answer.by), everything=True)
        try:
            self._desk.finish(answer.task_id, answer.result, caller, answer.note, answer_id=callback_id)
        except TaskClosed:
            # The same callback may have been faster, in another process.
            if (known := self._known(callback_id, answer)) is not None:
                return known
            raise
        return Answered(Became.RECORDED, answer.task_id, answer.result)

    def _known(self, callback_id: str, answer: Answer) -> Answered | None:
        with self._desk.database.read() as connection:
            before: Task | None = repository.answered_by(connection, callback_id)
        if before is None:
            return None
        if (before.id, before.result) != (answer.task_id, answer.result):
            raise TaskClosed(
                f"the callback {callback_id!r} brought the result {before.result!r} of the task "
                f"{before.id!r} before: send another one under an id of its own"
            )
        return Answered(Became.DUPLICATE, before.id, answer.result)

    def _person(self, by: str) -> str | None:
        if not by:
            return None
        person = self._desk.staff.called(by)
        if person is None:
            raise PersonUnknown(f"people.yaml has no person {by!r}{closest(by, self._desk.staff.people)}")
        return person


def _read(body: bytes) -> Answer:
    try:
        answer = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AnswerUnreadable(
            f'{error}; send {{"task_id": "…", "result": "won", "note": "…", "by": "ann"}}'
        ) from error
    if "\x00" in f"{answer.task_id}{answer.note}{answer.by}" or len(answer.note) > _MOST_TEXT:
        raise AnswerUnreadable(f"a note has {_MOST_TEXT} characters at most, and no text a zero character")
    return answer
