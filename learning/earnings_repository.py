"""SQL of what playbooks earned: decisions that drew their arms, and the rewards of these."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, func, select

from learning.repository import CURRENT_REWARD
from learning.rewards import Reward
from learning.tables import reward_windows
from playbooks.tables import playbook_states
from storage.ledger import Kind
from storage.schema import facts


def values_of_version(
    connection: Connection, playbook: str, version: int, since: datetime
) -> Iterator[float]:
    """Yield what each matured decision from `since` on earned that drew an arm of a playbook version.

    Those whose messages were recalled are left out.
    """
    decoder = msgspec.json.Decoder(Reward)
    marks = facts.alias("marks")
    recall = select(marks.c.id).where(marks.c.kind == Kind.RECALL, marks.c.id == reward_windows.c.decision_id)
    query = (
        select(facts.c.body)
        .join(reward_windows, facts.c.id == CURRENT_REWARD)
        .where(
            facts.c.kind == Kind.REWARD,
            _of_version(playbook, version, since),
            reward_windows.c.rewarded > 0,
            ~recall.exists(),
        )
    )
    for body in connection.execute(query).scalars():
        yield decoder.decode(body).earned


class Drawn(NamedTuple):
    """A decision that drew an arm, by a version of its playbook, and its reward as far as it is known."""

    user: str
    arm: str
    version: int
    reward: Reward | None


def drawn_of_playbook(
    connection: Connection, playbook: str, since: datetime | None, until: datetime | None
) -> Iterator[Drawn]:
    """Yield the decisions that drew an arm of a playbook with since <= decided_at < until."""
    decoder = msgspec.json.Decoder(Reward)
    current = and_(facts.c.kind == Kind.REWARD, facts.c.id == CURRENT_REWARD)
    windows = reward_windows.c
    query = (
        select(windows.user_id, windows.arm, windows.playbook_version, facts.c.body)
        .select_from(reward_windows.outerjoin(facts, current))
        .where(windows.playbook == playbook, windows.playbook_version.is_not(None))
    )
    if since is not None:
        query = query.where(windows.decided_at >= since)
    if until is not None:
        query = query.where(windows.decided_at < until)
    for user, arm, version, body in connection.execute(query):
        yield Drawn(user, arm, version, None if body is None else decoder.decode(body))


def waiting_of_version(connection: Connection, playbook: str, version: int, since: datetime) -> int:
    """Return how many such decisions wait for their window to close."""
    query = select(func.count()).select_from(reward_windows)
    waiting = query.where(_of_version(playbook, version, since), reward_windows.c.rewarded == 0)
    return connection.execute(waiting).scalar() or 0


def _of_version(playbook: str, version: int, since: datetime) -> ColumnElement[bool]:
    return and_(
        reward_windows.c.playbook == playbook,
        reward_windows.c.playbook_version == version,
        reward_windows.c.decided_at >= since,
    )


def playbook_version_at(connection: Connection, playbook: str, moment: datetime) -> int | None:
    """Return the version of a playbook that came last to be served by a moment, None before the first."""
    query = (
        select(playbook_states.c.version)
        .where(playbook_states.c.playbook == playbook, playbook_states.c.served_from <= moment)
        .order_by(playbook_states.c.served_from.desc(), playbook_states.c.version.desc())
        .limit(1)
    )
    return connection.execute(query).scalar()
