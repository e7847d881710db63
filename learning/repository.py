"""SQL of learning: reward windows, outcomes, decisions by id."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Text,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    update,
)

from learning.rewards import Reward
from learning.tables import reward_windows
from playbooks.decision import Decision
from playbooks.models import DO_NOTHING
from storage import ledger, readers
from storage.ledger import Kind, NewFact
from storage.schema import facts
from storage.statements import Statement

# A decision's first reward, those that took its place later, and outcomes that can't be counted.
REWARD_LABEL = "matured"
CORRECTED = "corrected"
REFUSED = "refused"
_WINDOWS_READER = "learning.windows"
# Names in one IN list: below the limit on variables of every SQLite in use.
IN_LIST = 500

_MATURED = Statement(
    update(reward_windows)
    .where(reward_windows.c.decision_id == bindparam("this"))
    .values(matured=true(), rewarded=bindparam("version"))
)
# The id of the fact that is a decision's reward now.
CURRENT_REWARD = case(
    (
        reward_windows.c.rewarded > 1,
        reward_windows.c.decision_id + literal(":") + cast(reward_windows.c.rewarded, Text),
    ),
    else_=reward_windows.c.decision_id,
)


_JUDGED_BY = func.coalesce(reward_windows.c.goal_version, reward_windows.c.playbook_version)


class Window(msgspec.Struct, frozen=True):
    """A decision's attribution window as the table keeps it (see `learning.tables`)."""

    decision_id: str
    user_id: str
    placement: str
    decided_at: datetime
    closes_at: datetime
    policy: str
    playbook: str | None
    playbook_version: int | None
    arm: str
    acts: bool
    matured: bool
    rewarded: int = 0
    goal_version: int | None = None

    @property
    def does_nothing(self) -> bool:
        return self.arm == DO_NOTHING

    @property
    def judged_by(self) -> int | None:
        """The playbook's version whose goal judges the decision."""
        return self.goal_version or self.playbook_version


def windows_position(connection: Connection) -> int:
    """Return the `seq` of the last decision whose window was opened."""
    return readers.position_of(connection, _WINDOWS_READER)


def new_decisions(connection: Connection, *, limit: int) -> list[ledger.Fact]:
    """Return the next decisions without a window, in the order they were recorded."""
    return ledger.read_after(connection, windows_position(connection), kind=Kind.DECISION, limit=limit)


def open_windows(connection: Connection, after: int, windows: Sequence[Window], position: int) -> bool:
    """Keep the windows of the decisions in (after, position], unless somebody else did meanwhile."""
    if not readers.advance_from(connection, _WINDOWS_READER, after, position, [Kind.DECISION]):
        return False
    if windows:
        connection.execute(insert(reward_windows), [msgspec.structs.asdict(window) for window in windows])
    return True


class Held(NamedTuple):
    """Windows judged by a playbook's version that closed after `since` are not to mature yet."""

    playbook: str
    version: int
    since: datetime


def due_plans(connection: Connection, now: datetime) -> list[tuple[str, int]]:
    """Return the playbooks and versions whose goals judge windows that closed at or before `now`."""
    query = (
        select(reward_windows.c.playbook, _JUDGED_BY)
        .where(reward_windows.c.matured.is_(False), reward_windows.c.closes_at <= now)
        .where(reward_windows.c.playbook_version.is_not(None))
        .distinct()
    )
    return [(row[0], row[1]) for row in connection.execute(query)]


def judged_until(connection: Connection, now: datetime) -> datetime:
    """Return the moment before which every window that closed has its reward; `now` if all have."""
    closed: datetime | None = connection.execute(
        select(func.min(reward_windows.c.closes_at)).where(reward_windows.c.matured.is_(False))
    ).scalar()
    # Of decisions without a window nobody has looked yet when it closes: after they were made.
    made = [fact.occurred_at for fact in new_decisions(connection, limit=1)]
    return min([now, *made, *([] if closed is None else [closed])])


def due_windows(
    connection: Connection, now: datetime, *, limit: int, held: Sequence[Held] = ()
) -> list[Window]:
    """Return unmatured windows that closed at or before `now`, those first that closed first.

    Those that are `held` are left out; doing nothing is not held, for it waits for no event.

    The order is by what happened and not by ids alone, which are random, so that equal histories give
    rewards, and learning, in equal order.
    """
    query = (
        select(reward_windows)
        .where(reward_windows.c.matured.is_(False), reward_windows.c.closes_at <= now)
        .order_by(reward_windows.c.closes_at, reward_windows.c.user_id, reward_windows.c.decision_id)
        .limit(limit)
    )
    for one in held:
        query = query.where(
            or_(
                reward_windows.c.playbook.is_distinct_from(one.playbook),
                _JUDGED_BY.is_distinct_from(one.version),
                reward_windows.c.closes_at <= one.since,
                reward_windows.c.arm == DO_NOTHING,
            )
        )
    return [window_of(row) for row in connection.execute(query)]


def windows_of_users(
    connection: Connection, users: Collection[str], start: datetime, end: datetime
) -> list[Window]:
    """Return all windows of these users that were opened in [start, end), matured or not."""
    result: list[Window] = []
    for some in pieces(users):
        query = select(reward_windows).where(
            reward_windows.c.user_id.in_(some),
            reward_windows.c.decided_at >= start,
            reward_windows.c.decided_at < end,
        )
        result += [window_of(row) for row in connection.execute(query)]
    return result


def record_rewards(connection: Connection, rewards: Sequence[NewFact], now: datetime) -> set[str]:
    """Record rewards and mark their windows, leaving out versions that were recorded before.

    Returns the ids of those that were recorded now.
    """
    fresh = ledger.append_unless_known(connection, rewards, now)
    # One by one, by their key: for several at once SQLite would rather look through all open windows.
    marks = [{"this": fact.body.decision_id, "version": fact.body.version} for fact in rewards]
    _MATURED.run_many(connection, marks)
    return fresh


def confirm(connection: Connection, windows: Sequence[Window]) -> int:
    """Mark windows that were judged again with the same outcome."""
    _MATURED.run_many(connection, [{"this": one.decision_id, "version": one.rewarded} for one in windows])
    return len(windows)


def rewards_after(connection: Connection, position: int, *, limit: int) -> list[tuple[int, str, Reward]]:
    """Return the next first rewards as (seq, user_id, reward), in the order they were recorded.

    They are as they were recorded then; `rewards_of` gives those that took their place.
    """
    found = ledger.read_after(connection, position, kind=Kind.REWARD, labels=[REWARD_LABEL], limit=limit)
    decoder = msgspec.json.Decoder(Reward)
    return [(fact.seq, fact.user_id or "", decoder.decode(fact.body)) for fact in found]


def whole_span(
    connection: Connection, placements: Collection[str], after: int, until: int | None
) -> tuple[datetime | None, datetime | None]:
    """Return between which moments, both left out, all decisions have rewards with `after` < seq <= `until`.

    Doing nothing matures at once and arms when their windows close: at both ends of a span of rewards there
    are decisions of some arms only, which are no sample of what was drawn.
    """
    rewarded = select(facts.c.id).where(facts.c.kind == Kind.REWARD, facts.c.label == REWARD_LABEL)
    windows = reward_windows.c
    here = windows.placement.in_(placements)
    start = None
    if after > 0:
        earlier = windows.decision_id.in_(rewarded.where(facts.c.seq <= after))
        start = connection.execute(select(func.max(windows.decided_at)).where(here, earlier)).scalar()
    waiting: ColumnElement[bool] = windows.rewarded == 0
    if until is not None:
        waiting = or_(waiting, windows.decision_id.in_(rewarded.where(facts.c.seq > until)))
    end = connection.execute(select(func.min(windows.decided_at)).where(here, waiting)).scalar()
    return start, end


def decisions(
    connection: Connection, ids: Collection[str], *, with_recalled: bool = False
) -> dict[str, Decision]:
    """Return decisions by id; ids that are unknown or erased are left out.

    So are those whose messages were recalled, of which nothing is to be learnt, unless `with_recalled`:
    whoever estimates leaves out more than these (`learning.recalls`).
    """
    decoder = msgspec.json.Decoder(Decision)
    result: dict[str, Decision] = {}
    for some in pieces(ids):
        query = select(facts.c.id, facts.c.body).where(facts.c.kind == Kind.DECISION, facts.c.id.in_(some))
        for decision_id, body in connection.execute(query):
            try:
                result[decision_id] = decoder.decode(body)
            except msgspec.ValidationError:
                # Erasure leaves a tombstone in the place of the record.
                continue
    for one in () if with_recalled else recalled(connection, result):
        del result[one]
    return result


def recalled(connection: Connection, ids: Collection[str]) -> set[str]:
    """Return those of some decisions whose messages were recalled: nothing is to be learnt of them."""
    found: set[str] = set()
    for some in pieces(ids):
        query = select(facts.c.id).where(facts.c.kind == Kind.RECALL, facts.c.id.in_(some))
        found.update(connection.execute(query).scalars())
    return found


def rewards_of(connection: Connection, ids: Collection[str]) -> dict[str, Reward]:
    """Return the rewards that these decisions have now, by decision."""
    decoder = msgspec.json.Decoder(Reward)
    result: dict[str, Reward] = {}
    windows = reward_windows.c
    for some in pieces(ids):
        first = select(facts.c.id, facts.c.body).where(
            facts.c.kind == Kind.REWARD, facts.c.label == REWARD_LABEL, facts.c.id.in_(some)
        )
        result |= {decision: decoder.decode(body) for decision, body in connection.execute(first)}
        later = (
            select(windows.decision_id, facts.c.body)
            .join(facts, facts.c.id == CURRENT_REWARD)
            .where(facts.c.kind == Kind.REWARD, windows.decision_id.in_(some), windows.rewarded > 1)
        )
        result |= {decision: decoder.decode(body) for decision, body in connection.execute(later)}
    return result


def window_of(row: Row[Any]) -> Window:
    """Return a row of `reward_windows` as a window."""
    return Window(**row._mapping)


def pieces(names: Collection[str]) -> Iterator[Sequence[str]]:
    """Yield names in pieces that fit into an IN list."""
    ordered = sorted(names)
    for start in range(0, len(ordered), IN_LIST):
        yield ordered[start : start + IN_LIST]
