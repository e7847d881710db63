"""Fewer messages rather than none: half as many as there were, of one purpose by one way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from audiences.consent.models import Channel
from delivery import repository as runs
from delivery.models import Enrolment, MessageFact, MessageState
from playbooks.library import PublishedPlaybook
from storage import ledger
from storage.ledger import Kind

# Over how long messages are counted: four whole weeks, so that each day of the week counts alike.
SPAN: Final = timedelta(weeks=4)
# Facts of messages that are looked at, far more than anybody is to be sent in that time.
_LOOKED_AT = 1_000


def halved(sent: int, pace: int | None) -> int:
    """Return how many messages are to come in `SPAN` of one who got so many and wants fewer.

    Half of them, or of the pace that already is theirs; one at least, for fewer is none.

    >>> halved(7, None), halved(7, 4), halved(0, None)
    (3, 2, 1)
    """
    return max(1, (sent if pace is None else min(sent, pace)) // 2)


def sent_lately(
    connection: Connection,
    profiles: Sequence[str],
    purpose: str,
    way: Channel,
    now: datetime,
    *,
    ways: Callable[[str], Channel | None],
    playbooks: Callable[[Connection, Enrolment], PublishedPlaybook | None],
) -> int:
    """Return how many messages of a purpose a person was sent by a way in the last `SPAN`.

    Args:
        way: `any` counts all of them.
        ways: on which users agree to be reached, by channel; None for what reaches none.
        playbooks: those of runs.
    """
    facts = ledger.of_users(connection, profiles, kinds=[Kind.MESSAGE], limit=_LOOKED_AT)
    sent: list[MessageFact] = [
        fact.decode(MessageFact)
        for fact in facts
        if fact.label == MessageState.SENT.value and fact.occurred_at > now - SPAN
    ]
    mine = [one for one in sent if (by := ways(one.channel)) is not None and way in (by, Channel.ANY)]
    found = runs.enrolments_of(connection, [one.enrolment for one in mine])
    of_run = {
        id_: playbook.document.purpose
        for id_, run in found.items()
        if (playbook := playbooks(connection, run)) is not None
    }
    return sum(of_run.get(one.enrolment) == purpose for one in mine)
