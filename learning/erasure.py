"""Where learning keeps something of users, and how it takes that away."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, select, update

from learning.tables import reward_windows, shadow_rounds
from storage.erasure import Erasing, Place, Rows


def _windows(connection: Connection, whom: Erasing, limit: int) -> int:
    """Let windows that were credited go on under the pseudonym, and take away those that are open.

    The events that would credit an open one are tombstones: it would mature as if nothing had followed, and
    pull every estimate down. A decision without a reward is in none. One that was to be judged again
    keeps the reward it has.
    """
    query = select(reward_windows.c.decision_id, reward_windows.c.rewarded)
    rows = connection.execute(query.where(reward_windows.c.user_id == whom.user_id).limit(limit)).all()
    this = reward_windows.c.decision_id
    renamed = update(reward_windows).where(this.in_([one.decision_id for one in rows if one.rewarded]))
    connection.execute(renamed.values(user_id=whom.pseudonym, matured=True))
    connection.execute(
        delete(reward_windows).where(this.in_([one.decision_id for one in rows if not one.rewarded]))
    )
    return len(rows)


def _rounds(connection: Connection, whom: Erasing, limit: int) -> int:
    """Take away what other policies would have done for the user: the records these belong to are gone."""
    mine = select(shadow_rounds.c.policy, shadow_rounds.c.decision_id)
    rows = connection.execute(mine.where(shadow_rounds.c.user_id == whom.user_id).limit(limit)).all()
    for policy, decision in rows:
        connection.execute(
            delete(shadow_rounds).where(
                shadow_rounds.c.policy == policy, shadow_rounds.c.decision_id == decision
            )
        )
    return len(rows)


PLACES: Sequence[Place] = [
    Rows("reward_windows", [reward_windows], _windows),
    Rows("shadow_rounds", [shadow_rounds], _rounds),
]
