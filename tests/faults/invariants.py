"""What must hold in the database, whatever was killed: checked from its rows, never from the service's word.

Each check returns findings: an acknowledged fact that is lost, something that is there twice, or anything
else that is wrong. No findings means that every promise was kept.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import unquote

import msgspec
import pyarrow.parquet as pq
from sqlalchemy import Connection, func, select

from audiences.feeds import HISTORY_READER, PUSH_READER
from delivery.channels.mailbox import file_name
from delivery.coupons.tables import coupons
from delivery.models import MessageState, Status
from delivery.routing import READER
from delivery.tables import enrolments, outbox
from feature_repo.specs import load_specs
from learning.repository import REWARD_LABEL
from learning.tables import policies, reward_windows
from playbooks.counters import ValkeyCounters
from playbooks.decision import Decision
from playbooks.tables import answers, uses
from storage import ledger, projection
from storage.engine import Database
from storage.ledger import Kind
from storage.schema import cursors, facts
from tests.faults import redemptions
from tests.faults.alterations import HAND_OVERS, HandOver
from tests.faults.journal import Journal
from tests.faults.refusals import Refusal, caps_of, playbooks, refusals, without_reason
from tests.faults.stores import CounterServer, Store


class Finding(NamedTuple):
    """A broken promise."""

    kind: Literal["lost", "doubled", "wrong"]
    what: str


class Interruption(NamedTuple):
    """A process died (or, with None, the database was away for all) from `start` to `end`, in nanoseconds."""

    process: int | None
    start: int
    end: int


Findings = Iterator[Finding]


def check(
    connection: Connection, journal: Journal, data: Path, interruptions: Sequence[Interruption]
) -> list[Finding]:
    """Return every broken promise of a service that has been drained: all answered, all due work done."""
    decisions = _decisions(connection)
    found = [*_events(connection, journal), *_answers(connection, journal, decisions)]
    refused = refusals(connection)
    found += [*_enrolments(connection, decisions), *_coupons(connection, decisions, refused.keys())]
    found += [
        *_refusals(connection, refused.values()),
        *_messages(connection, data, refused.keys(), interrupted=bool(interruptions)),
        *_hand_overs(data, interruptions),
    ]
    found += [*_rewards(connection, decisions), *_caps(connection), *_policies(connection, decisions)]
    found += [Finding(kind, what) for kind, what in redemptions.broken(connection, journal)]
    found += [*_readers(connection), *_history(connection, data), *_counts(connection)]
    return found + [Finding("wrong", one) for one in journal.contradictions]


def _decisions(connection: Connection) -> list[Decision]:
    decoder = msgspec.json.Decoder(Decision)
    bodies = connection.execute(select(facts.c.body).where(facts.c.kind == Kind.DECISION)).scalars()
    return [decoder.decode(body) for body in bodies]


def _events(connection: Connection, journal: Journal) -> Findings:
    """Every acknowledged event is there once and as it was sent; nothing is there that nobody sent."""
    rows = connection.execute(
        select(facts.c.id, facts.c.user_id, facts.c.label).where(
            facts.c.kind == Kind.EVENT, facts.c.label.not_in(redemptions.EVENTS)
        )
    ).all()
    there = Counter(row.id for row in rows)
    yield from (Finding("lost", f"event {one}") for one in journal.acknowledged - there.keys())
    yield from _twice("event", there)
    for event_id, user, name in rows:
        sent = journal.sent.get(event_id)
        if sent is None or (sent.user, sent.name) != (user, name):
            yield Finding("wrong", f"event {event_id} is recorded as {name} of {user}, was sent as {sent}")


def _answers(connection: Connection, journal: Journal, decisions: Sequence[Decision]) -> Findings:
    """Every acknowledged decision is there once, under its key; the remembered answer is the given one."""
    yield from _twice("decision with the key", Counter(one.request_key for one in decisions))
    yield from _twice("decision", Counter(one.decision_id for one in decisions))
    by_key = {one.request_key: one for one in decisions}
    rows = connection.execute(select(answers.c.request_key, answers.c.decision_id, answers.c.body))
    remembered = {row.request_key: row for row in rows}
    for key, answer in journal.answers.items():
        decision, kept = by_key.get(key), remembered.get(key)
        if decision is None or kept is None:
            yield Finding("lost", f"decision {answer['decision_id']} with the key {key}")
        elif msgspec.json.decode(kept.body) != answer or decision.decision_id != answer["decision_id"]:
            yield Finding("wrong", f"the key {key} was answered {answer}, kept is {kept.body}")
        elif decision.user_id != journal.asked[key]:
            yield Finding("wrong", f"the key {key} of {journal.asked[key]} decided for {decision.user_id}")
    for key in by_key.keys() ^ remembered.keys():
        yield Finding("wrong", f"the key {key} has a decision without an answer, or an answer without one")
    for key in by_key.keys() - journal.asked.keys():
        yield Finding("wrong", f"a decision has the key {key}, which nobody asked with")


def _enrolments(connection: Connection, decisions: Sequence[Decision]) -> Findings:
    """Every acting decision runs through its flow once, to the end."""
    rows = connection.execute(
        select(enrolments.c.decision_id, enrolments.c.status, enrolments.c.result)
    ).all()
    yield from _same("enrolment of decision", {one.decision_id for one in decisions if one.acts}, rows)
    for decision_id, status, result in rows:
        if status != Status.ENDED:
            yield Finding("wrong", f"the enrolment of decision {decision_id} is {status} ({result})")
    for label in ("started", "ended"):
        kept = connection.execute(
            select(facts.c.id).where(facts.c.kind == Kind.ENROLMENT, facts.c.label == label)
        )
        ids = [(row.id.removesuffix(f":{label}"),) for row in kept]
        yield from _same(f"fact that an enrolment {label}:", {row.decision_id for row in rows}, ids)


def _refusals(connection: Connection, refused: Iterable[Refusal]) -> Findings:
    """A coupon is refused only to a user whose cap is full without it."""
    caps = caps_of(playbooks(connection))
    yield from (Finding("lost", one) for one in without_reason(connection, refused, caps))


def _coupons(connection: Connection, decisions: Sequence[Decision], refused: Collection[str]) -> Findings:
    """Every acting decision gave one coupon, which is closed by now, unless it was refused: then none."""
    query = select(coupons.c.decision_id, coupons.c.state, coupons.c.closes_at)
    # Codes for many are given by no decision.
    rows = connection.execute(query.where(coupons.c.decision_id != "")).all()
    expected = {one.decision_id for one in decisions if one.acts}.difference(refused)
    yield from _same("coupon of decision", expected, rows)
    for decision_id, state, closes_at in rows:
        if closes_at is not None:
            yield Finding("wrong", f"the coupon of decision {decision_id} is {state} and open, long after")


def _messages(connection: Connection, data: Path, refused: Collection[str], *, interrupted: bool) -> Findings:
    """Every message is settled, and the mailbox holds once each one that was delivered.

    It may hold one of which nobody knows, which takes an interruption, and no other. Whoever was refused a
    coupon is told of none.
    """
    rows = connection.execute(select(outbox.c.key, outbox.c.enrolment_id, outbox.c.state)).all()
    settled = {MessageState.DELIVERED, MessageState.SUPPRESSED}
    if interrupted:
        settled.add(MessageState.UNKNOWN)
    for key, _, state in rows:
        if state not in settled:
            yield Finding("wrong", f"the message {key} is {state} at the end")
    delivered = {file_name(row.key) for row in rows if row.state == MessageState.DELIVERED}
    files = Counter(path.name for path in (data / "mailbox").rglob("*.eml"))
    yield from _twice("mail", files)
    yield from (Finding("lost", f"mail {unquote(name)}") for name in delivered - files.keys())
    possible = delivered | {file_name(row.key) for row in rows if row.state == MessageState.UNKNOWN}
    yield from (
        Finding("wrong", f"the mail {unquote(name)} is of no message that may have been delivered")
        for name in files.keys() - possible
    )
    enrolled = connection.execute(select(enrolments.c.decision_id, enrolments.c.id)).all()
    expected = {enrolment_id for decision_id, enrolment_id in enrolled if decision_id not in refused}
    yield from _same("message of enrolment", expected, [(row.enrolment_id,) for row in rows])


def _hand_overs(data: Path, interruptions: Sequence[Interruption]) -> Findings:
    """A message is handed over again only if the one who had it was interrupted in between."""
    by_key: dict[str, list[HandOver]] = defaultdict(list)
    noted = data / HAND_OVERS
    for line in noted.read_bytes().splitlines() if noted.exists() else ():
        one = msgspec.json.decode(line, type=HandOver)
        by_key[one.key].append(one)
    for key, times in by_key.items():
        times.sort(key=lambda one: one.at)
        for first, again in pairwise(times):
            if not any(
                stop.process in (None, first.process) and first.at <= stop.end and stop.start <= again.at
                for stop in interruptions
            ):
                yield Finding("doubled", f"hand-over of {key}, by {first.process} and then {again.process}")


def _rewards(connection: Connection, decisions: Sequence[Decision]) -> Findings:
    """Every decision has its reward, and no window is left open."""
    kept = connection.execute(
        select(facts.c.id).where(facts.c.kind == Kind.REWARD, facts.c.label == REWARD_LABEL)
    ).all()
    yield from _same("reward of decision", {one.decision_id for one in decisions}, kept)
    windows = connection.execute(select(reward_windows.c.decision_id, reward_windows.c.matured)).all()
    yield from _same("window of decision", {one.decision_id for one in decisions}, windows)
    for decision_id, matured in windows:
        if not matured:
            yield Finding("wrong", f"the window of decision {decision_id} is open, long after")


def _caps(connection: Connection) -> Findings:
    """No user was used more often than a cap allows, and every delivered message of a cap counts once."""
    published = playbooks(connection)
    limits = caps_of(published)
    rows = connection.execute(
        select(uses.c.user_id, uses.c.rule, uses.c.used_at, uses.c.decision_id)
        .where(uses.c.expires_at.is_(None))
        .order_by(uses.c.used_at)
    ).all()
    yield from _twice("use", Counter(f"{row.rule} of decision {row.decision_id}" for row in rows))
    moments: dict[tuple[str, str], list[object]] = defaultdict(list)
    for user, rule, used_at, _ in rows:
        moments[user, rule].append(used_at)
    for (user, rule), times in moments.items():
        cap = limits[rule]
        for first, beyond in zip(times, times[cap.limit :], strict=False):
            if beyond - first < cap.window:  # type: ignore[operator]
                yield Finding("doubled", f"{user} has more than {cap.limit} uses of {rule} since {first}")
    capped = [one.id for one in published if one.constraints]
    yield from _uncounted(connection, capped, {row.decision_id for row in rows})


def _uncounted(connection: Connection, capped: Sequence[str], counted: set[str]) -> Findings:
    query = (
        select(enrolments.c.decision_id)
        .join(outbox, outbox.c.enrolment_id == enrolments.c.id)
        .where(outbox.c.state == MessageState.DELIVERED.value, enrolments.c.playbook.in_(capped))
    )
    for decision_id in set(connection.execute(query).scalars()) - counted:
        yield Finding("lost", f"the use of decision {decision_id}, whose message was delivered")


def recounted(store: Store, counters: CounterServer, now: datetime) -> list[Finding]:
    """Check that Valkey counts what the journal does, after all reservations have come to their end."""
    database = Database(store.url, create=False)
    try:
        valkey = ValkeyCounters(database, counters.url, patience=5.0)
        try:
            differences = valkey.recount(now)
        finally:
            valkey.close()
        with database.read() as connection:
            held = select(func.count()).where(uses.c.expires_at > now)
            open_ = connection.execute(held).scalar_one()
    finally:
        database.close()
    found = [Finding("wrong", f"Valkey counts otherwise: {one}") for one in differences]
    return found + ([Finding("wrong", f"{open_} reservations leaked")] if open_ else [])


def _policies(connection: Connection, decisions: Sequence[Decision]) -> Findings:
    """Versions form one chain, and the last one has learnt every reward that teaches, once."""
    rows = connection.execute(
        select(
            policies.c.version, policies.c.number, policies.c.parent, policies.c.trained, policies.c.through
        ).order_by(policies.c.number)
    ).all()
    for before, after in pairwise(rows):
        if (after.number, after.parent) != (
            before.number + 1,
            before.version,
        ) or after.through < before.through:
            yield Finding("wrong", f"policy version {after.version} does not follow {before.version}")
    teach = sum(one.acts and one.fallback is None for one in decisions)
    if rows[-1].trained != teach:
        kind: Literal["lost", "doubled"] = "lost" if rows[-1].trained < teach else "doubled"
        yield Finding(kind, f"{rows[-1].version} has learnt {rows[-1].trained} rewards, {teach} teach")


def _readers(connection: Connection) -> Findings:
    """Every reader has come to the last fact it reads, and none beyond the last there is."""
    last = connection.execute(select(func.max(facts.c.seq))).scalar() or 0
    events = select(func.max(facts.c.seq)).where(facts.c.kind == Kind.EVENT)
    last_event = connection.execute(events).scalar() or 0
    rows = connection.execute(select(cursors.c.reader, cursors.c.position))
    positions = {row.reader: row.position for row in rows}
    for reader, position in positions.items():
        if position > last:
            yield Finding("wrong", f"the reader {reader} is at {position}, the last fact is {last}")
    for reader in (HISTORY_READER, PUSH_READER, READER):
        if positions.get(reader, 0) < last_event:
            yield Finding("lost", f"the reader {reader} is at {positions.get(reader)} of {last_event}")


def _history(connection: Connection, data: Path) -> Findings:
    """The Parquet history of an event holds each of its facts once."""
    for name in load_specs().events.events:
        there: Counter[int] = Counter()
        for part in sorted((data / "features" / "history" / name).glob("*.parquet")):
            there.update(pq.read_table(part, columns=["sequence"])["sequence"].to_pylist())
        query = select(facts.c.seq).where(facts.c.kind == Kind.EVENT, facts.c.label == name)
        recorded = set(connection.execute(query).scalars())
        yield from _twice(f"{name} in the history", Counter({str(seq): n for seq, n in there.items()}))
        yield from (Finding("lost", f"{name} {seq} in the history") for seq in recorded - there.keys())
        yield from (
            Finding("wrong", f"{name} {seq} in the history is no fact") for seq in there.keys() - recorded
        )


def _counts(connection: Connection) -> Findings:
    """Kept counters equal a recount, and what is served equals the facts."""
    for one in projection.recount(connection):
        yield Finding("wrong", f"a counter: {one}")
    query = select(facts.c.kind, facts.c.label, func.count()).group_by(facts.c.kind, facts.c.label)
    counted = {(kind, label): number for kind, label, number in connection.execute(query)}
    served = {
        (kind.value, label): number
        for kind, labels in ledger.counts(connection).items()
        for label, number in labels.items()
        if number
    }
    if served != counted:
        yield Finding("wrong", f"counts say {served}, the facts are {counted}")


def _twice(what: str, there: Mapping[str, int]) -> Findings:
    yield from (
        Finding("doubled", f"{what} {one}, {times} times") for one, times in there.items() if times > 1
    )


def _same(what: str, expected: set[str], rows: Sequence[Sequence[object]]) -> Findings:
    there = Counter(str(row[0]) for row in rows)
    yield from _twice(what, there)
    yield from (Finding("lost", f"{what} {one}") for one in expected - there.keys())
    yield from (
        Finding("wrong", f"{what} {one}, which there should not be") for one in there.keys() - expected
    )
