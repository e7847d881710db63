"""Reads the decision log, with what each decision earned as far as that is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from learning import repository
from learning.errors import NothingToExport
from learning.rewards import Reward
from playbooks.decision import Decision
from storage import ledger
from storage.erasure import is_pseudonym
from storage.ledger import Kind

# Decisions whose rewards are looked up at a time.
_PAGE = 500
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


class Logged(NamedTuple):
    """A decision and its reward, None while its window is open."""

    decision: Decision
    reward: Reward | None


def logged(
    connection: Connection, placements: Sequence[str], since: datetime | None, until: datetime | None
) -> Iterator[Logged]:
    """Yield the decisions made in since <= decided_at < until, by placement and time.

    Those of erased users and test users are left out. No placements: all of them.

    Raises:
        NothingToExport: a placement at which nothing was ever decided.
    """
    known = ledger.counts(connection).get(Kind.DECISION, {})
    for placement in placements:
        if placement not in known:
            raise NothingToExport(
                f"nothing was ever decided at {placement!r}; the placements with decisions are "
                f"{', '.join(sorted(known)) or 'none'}"
            )
    decoder = msgspec.json.Decoder(Decision)
    for placement in sorted(placements or known):
        facts = ledger.happened_between(connection, Kind.DECISION, placement, since or _FIRST, until or _LAST)
        kept = (fact for fact in facts if not is_pseudonym(fact.user_id or ""))
        while page := list(islice(kept, _PAGE)):
            rewards = repository.rewards_of(connection, [fact.id for fact in page])
            for fact in page:
                decision = decoder.decode(fact.body)
                if not decision.test:
                    yield Logged(decision, rewards.get(fact.id))
