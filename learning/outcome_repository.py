"""SQL of outcomes: what users did that may count, what came late, and what is judged again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, and_, case, false, func, or_, select, update

from audiences.consent.models import ConsentState
from audiences.events import EventBody
from learning.repository import CORRECTED, REFUSED, REWARD_LABEL, Window, pieces, window_of
from learning.rewards import Outcome, Reward
from learning.tables import reward_windows
from playbooks.goal_documents import OPT_OUT
from playbooks.library.lifecycle import State
from playbooks.tables import playbook_states
from storage import ledger, readers
from storage.ledger import Fact, Kind, NewFact
from storage.order import settled
from storage.projection import DAY_MICROS
from storage.schema import fact_counts, facts
from storage.times import from_micros, to_micros

_READER = "learning.outcomes"
# What outcomes are among.
KINDS = (Kind.EVENT, Kind.CONSENT)
# Facts looked at in one go; most are no outcomes, and their bodies are not read.
_PAGE = 2_000


def outcomes_of_users(
    connection: Connection, users: Collection[str], names: Collection[str], start: datetime, end: datetime
) -> Iterator[Outcome]:
    """Yield the named outcomes of these users with start <= occurred_at < end, in the order they happened."""
    for some in pieces(users):
        query = (
            _outcomes(names)
            .where(
                facts.c.user_id.in_(some),
                facts.c.occurred_at >= to_micros(start),
                facts.c.occurred_at < to_micros(end),
            )
            .order_by(facts.c.occurred_at, facts.c.seq)
        )
        for row in connection.execute(query):
            yield outcome_of(ledger.fact_of(row))


def _outcomes(names: Collection[str]) -> Select[Any]:
    return ledger.columns().where(_counted(names))


def _counted(names: Collection[str]) -> ColumnElement[bool]:
    counted = and_(facts.c.kind == Kind.EVENT, facts.c.label.in_(sorted(names)))
    if OPT_OUT in names:
        denied = and_(facts.c.kind == Kind.CONSENT, facts.c.label == ConsentState.DENIED.value)
        counted = or_(counted, denied)
    return counted


def outcome_of(fact: ledger.Fact) -> Outcome:
    """Return an event, or a user's word that they want no more, as an outcome."""
    if fact.kind is Kind.CONSENT:
        return Outcome(fact.id, fact.user_id or "", OPT_OUT, fact.occurred_at, {})
    body: EventBody = fact.decode(EventBody)
    return Outcome(fact.id, fact.user_id or "", fact.label or "", fact.occurred_at, body.properties)


class Page(NamedTuple):
    """The next facts that may be outcomes: those that are, and from where to where it goes."""

    before: int
    last: int
    outcomes: Sequence[Fact]


def next_outcomes(connection: Connection, names: Collection[str]) -> Page | None:
    """Return the next events and words of users that nobody looked at for what is late; None without any."""
    before = readers.position_of(connection, _READER)
    counts = _counted(names)
    columns = list(ledger.columns().selected_columns)
    columns[-1] = case((counts, facts.c.body), else_=None).label("body")
    query = (
        select(*columns)
        .where(facts.c.seq > before, facts.c.kind.in_(KINDS), settled(connection))
        .order_by(facts.c.seq)
        .limit(_PAGE)
    )
    rows = connection.execute(query).all()
    if not rows:
        return None
    found = [ledger.fact_of(row) for row in rows if row[-1] is not None and row.user_id is not None]
    return Page(before, rows[-1].seq, found)


def judge_again(
    connection: Connection, page: Page, windows: Sequence[Window], refused: Sequence[NewFact], now: datetime
) -> int:
    """Let windows be judged again and move on, unless somebody else did; returns how many outcomes are new
    among the refused.
    """
    if not readers.advance_from(connection, _READER, page.before, page.last):
        return 0
    for some in pieces([one.decision_id for one in windows]):
        connection.execute(
            update(reward_windows).where(reward_windows.c.decision_id.in_(some)).values(matured=false())
        )
    return refuse(connection, refused, now)


def matured_windows(
    connection: Connection, users: Collection[str], start: datetime, end: datetime
) -> list[Window]:
    """Return the windows of these users, opened in [start, end], that have a reward."""
    result: list[Window] = []
    for some in pieces(users):
        query = select(reward_windows).where(
            reward_windows.c.user_id.in_(some),
            reward_windows.c.decided_at >= start,
            reward_windows.c.decided_at <= end,
            reward_windows.c.rewarded > 0,
        )
        result += [window_of(row) for row in connection.execute(query)]
    return result


def windows_by_id(connection: Connection, ids: Collection[str]) -> dict[str, Window]:
    """Return windows by their decisions' ids; ids of none are left out."""
    result: dict[str, Window] = {}
    for some in pieces(ids):
        query = select(reward_windows).where(reward_windows.c.decision_id.in_(some))
        result |= {row.decision_id: window_of(row) for row in connection.execute(query)}
    return result


def refuse(connection: Connection, refused: Sequence[NewFact], now: datetime) -> int:
    """Record outcomes that can't be counted, once each; returns how many were recorded now."""
    return len(ledger.append_unless_known(connection, refused, now))


def refused_before(connection: Connection, before: int | None, limit: int) -> list[Fact]:
    """Return outcomes that could not be counted, newest first."""
    query = ledger.columns().where(facts.c.kind == Kind.REWARD, facts.c.label == REFUSED)
    if before is not None:
        query = query.where(facts.c.seq < before)
    return [
        ledger.fact_of(row) for row in connection.execute(query.order_by(facts.c.seq.desc()).limit(limit))
    ]


class Waiting(NamedTuple):
    """Corrections that are not learnt: how many, up to which `seq`, and since when."""

    number: int
    last: int
    since: datetime | None


def corrections_after(connection: Connection, position: int, through: int) -> Waiting:
    """Return the facts after `position` that replaced rewards learnt up to `through`."""
    query = (
        select(facts.c.seq, facts.c.id, facts.c.recorded_at)
        # Few rewards are corrected: not the index of all that came since.
        .where(facts.c.kind == Kind.REWARD, facts.c.label == CORRECTED, facts.c.seq + 0 > position)
        .where(settled(connection))
    )
    found = sorted(connection.execute(query).all())
    learnt: set[str] = set()
    for some in pieces({one.id.rpartition(":")[0] for one in found}):
        first = select(facts.c.id).where(
            facts.c.kind == Kind.REWARD,
            facts.c.label == REWARD_LABEL,
            facts.c.id.in_(some),
            facts.c.seq <= through,
        )
        learnt.update(connection.execute(first).scalars())
    waiting = [one for one in found if one.id.rpartition(":")[0] in learnt]
    last = found[-1].seq if found else position
    return Waiting(len(waiting), last, from_micros(waiting[0].recorded_at) if waiting else None)


def corrected(connection: Connection, ids: Collection[str], until: int) -> dict[str, Reward]:
    """Return the rewards that took the place of decisions' first ones by facts up to `until`, by decision."""
    decoder = msgspec.json.Decoder(Reward)
    result: dict[str, Reward] = {}
    for some in pieces(ids):
        windows = reward_windows.c
        query = select(windows.decision_id, windows.rewarded)
        query = query.where(windows.decision_id.in_(some), windows.rewarded > 1)
        names = [
            f"{row.decision_id}:{number}"
            for row in connection.execute(query)
            for number in range(2, row.rewarded + 1)
        ]
        for part in pieces(names):
            found = select(facts.c.body).where(
                facts.c.kind == Kind.REWARD, facts.c.id.in_(part), facts.c.seq <= until
            )
            for body in connection.execute(found.order_by(facts.c.seq)).scalars():
                one = decoder.decode(body)
                result[one.decision_id] = one
    return result


def served_plans(connection: Connection) -> list[tuple[str, int]]:
    """Return the playbooks and versions that there are."""
    query = select(playbook_states.c.playbook, playbook_states.c.version)
    return [(row[0], row[1]) for row in connection.execute(query)]


def gone_until(connection: Connection) -> dict[str, datetime]:
    """Return until when outcomes were taken away, by their name: what lies before is not all there."""
    counts = fact_counts.c
    denied = and_(counts.kind == Kind.CONSENT, counts.label == ConsentState.DENIED.value)
    query = (
        select(counts.kind, counts.label, func.max(counts.day))
        .where(or_(counts.kind == Kind.EVENT, denied), counts.purged > 0)
        .group_by(counts.kind, counts.label)
    )
    return {
        OPT_OUT if kind == Kind.CONSENT else label: from_micros((day + 1) * DAY_MICROS)
        for kind, label, day in connection.execute(query)
    }


def plans_that_served(connection: Connection) -> list[tuple[str, int, datetime | None]]:
    """Return the playbooks and versions that ever served, and when those ended that are retired."""
    ended = case((playbook_states.c.state == State.RETIRED.value, playbook_states.c.moved_at))
    query = select(playbook_states.c.playbook, playbook_states.c.version, ended).where(
        playbook_states.c.served_from.is_not(None)
    )
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def judge_by(
    connection: Connection, playbook: str, version: int, window: timedelta, *, after: str, limit: int
) -> list[str]:
    """Let a playbook's decisions be judged by a version's goal; returns whose, by id after `after`."""
    query = (
        select(reward_windows.c.decision_id, reward_windows.c.decided_at)
        .where(reward_windows.c.playbook == playbook, reward_windows.c.decision_id > after)
        .order_by(reward_windows.c.decision_id)
        .limit(limit)
    )
    rows = connection.execute(query).all()
    for row in rows:
        connection.execute(
            update(reward_windows)
            .where(reward_windows.c.decision_id == row.decision_id)
            .values(matured=false(), goal_version=version, closes_at=row.decided_at + window)
        )
    return [row.decision_id for row in rows]
