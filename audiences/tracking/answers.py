"""What a sender is told: how many messages were taken, and of each that was not, which one and why."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from audiences.intake.intake import Outcome, Taken
from audiences.tracking.messages import Refusal


class SetAside(msgspec.Struct, frozen=True):
    """Why one message does not fit the tracking plan; it is kept, and recorded once the plan knows it."""

    index: int
    message_id: str
    reason: str


class Answer(msgspec.Struct, frozen=True):
    """Answer to events.

    `accepted` are recorded now, `duplicates` were before, `machine` came from no person and are kept apart;
    `quarantined` and `refused` name the messages. `success` is what Segment's own service says.
    """

    accepted: int
    duplicates: int
    machine: int = 0
    quarantined: list[SetAside] = []
    refused: list[Refusal] = []
    success: bool = True


def answer(taken: Sequence[Taken], indices: Sequence[int], refused: Sequence[Refusal]) -> Answer:
    """Return the answer to a batch.

    Args:
        taken: what became of its valid messages; `indices` are their places in the batch.
        refused: those that were not even valid.
    """
    numbers = dict.fromkeys(Outcome, 0)
    quarantined: list[SetAside] = []
    conflicts: list[Refusal] = []
    for index, one in zip(indices, taken, strict=True):
        numbers[one.outcome] += 1
        if one.outcome is Outcome.QUARANTINED:
            quarantined.append(SetAside(index, one.event_id, one.reason))
        elif one.outcome is Outcome.CONFLICT:
            conflicts.append(Refusal(index, one.event_id, one.reason))
    return Answer(
        numbers[Outcome.RECORDED],
        numbers[Outcome.DUPLICATE],
        numbers[Outcome.MACHINE],
        quarantined,
        sorted([*refused, *conflicts], key=lambda one: one.index),
    )
