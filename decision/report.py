"""Counts from the ledger: the numbers that anybody sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from typing import Any

import msgspec
from sqlalchemy import Connection

from audiences.repository import are_known, count_users
from delivery.models import MessageFact, MessageState
from learning.repository import REFUSED
from playbooks.money import shown
from storage import ledger
from storage.engine import Database
from storage.ledger import Fact, Kind

Counts = Mapping[Kind, Mapping[str, int]]


class _Suppressed(msgspec.Struct):
    suppressed: dict[str, list[str]] = {}
    refused_by: str | None = None
    fallback: str | None = None


class _Rewarded(msgspec.Struct):
    decision_id: str
    value: float
    version: int = 1


# What became of coupons. `used` counts coupons, `redeemed` and `rolled_back` what shops told.
_OFFERS = ("issued", "used", "redeemed", "rolled_back", "expired", "voided")


def ledger_summary(database: Database, insiders: Collection[str] = ()) -> dict[str, Any]:
    """Count what happened. Every number is a count or a mean over facts, so they add up.

    Args:
        insiders: all profiles of test users, whose facts are left out.
    """
    apart = frozenset(insiders)
    with database.read() as connection:
        counts: Counts = ledger.counts(connection)
        users = count_users(connection)
        if apart:
            counts = _without(counts, ledger.counts_of(connection, apart))
            users -= len(are_known(connection, sorted(apart)))
        suppressed, fallbacks = _suppressions(connection, apart)
        rewards = _rewards(connection, apart)
        spent = _spent(connection, apart)
    for rule, number in counts.get(Kind.SUPPRESSION, {}).items():
        suppressed[rule] += number
    coupons = counts.get(Kind.COUPON, {})
    return {
        "users": users,
        "events": counts.get(Kind.EVENT, {}),
        "audiences": _sizes(counts.get(Kind.AUDIENCE, {})),
        "tags": counts.get(Kind.TAG, {}),
        "decisions": sum(counts.get(Kind.DECISION, {}).values()),
        "suppressed": dict(sorted(suppressed.items())),
        "fallbacks": dict(sorted(fallbacks.items())),
        "enrolments": counts.get(Kind.ENROLMENT, {}).get("started", 0),
        "messages": counts.get(Kind.MESSAGE, {}),
        "message_costs": spent,
        "offers": {state: coupons.get(state, 0) for state in _OFFERS},
        "rewards": {
            "matured": len(rewards),
            "corrected": sum(one.version > 1 for one in rewards),
            "refused": counts.get(Kind.REWARD, {}).get(REFUSED, 0),
            "mean": sum(one.value for one in rewards) / len(rewards) if rewards else None,
        },
        "changes": counts.get(Kind.CHANGE, {}),
    }


def _without(counts: Counts, others: Counts) -> Counts:
    return {
        kind: {
            label: left
            for label, number in labels.items()
            if (left := number - others.get(kind, {}).get(label, 0)) > 0
        }
        for kind, labels in counts.items()
    }


def _suppressions(connection: Connection, apart: Set[str]) -> tuple[Counter[str], Counter[str]]:
    """Count the playbooks that each rule stopped, and the decisions that had to fall back."""
    suppressed: Counter[str] = Counter()
    fallbacks: Counter[str] = Counter()
    for fact in _all(connection, Kind.DECISION):
        if fact.user_id in apart:
            continue
        decision: _Suppressed = fact.decode(_Suppressed)
        for rule, playbooks in decision.suppressed.items():
            suppressed[rule] += len(playbooks)
        if decision.refused_by:
            suppressed[decision.refused_by] += 1
        if decision.fallback:
            fallbacks[decision.fallback] += 1
    return suppressed, fallbacks


def _rewards(connection: Connection, apart: Set[str]) -> list[_Rewarded]:
    """Return the reward of every decision as it is now."""
    latest: dict[str, _Rewarded] = {}
    for fact in _all(connection, Kind.REWARD):
        if fact.user_id not in apart and fact.label != REFUSED:
            one: _Rewarded = fact.decode(_Rewarded)
            latest[one.decision_id] = one
    return list(latest.values())


def _spent(connection: Connection, apart: Set[str]) -> dict[str, dict[str, list[str]]]:
    """Return what providers ask for the messages they took, by playbook and channel, in each currency."""
    spent: Counter[tuple[str, str, str]] = Counter()
    for fact in _all(connection, Kind.MESSAGE, [MessageState.SENT.value]):
        if fact.user_id not in apart:
            sent: MessageFact = fact.decode(MessageFact)
            if sent.cost:
                spent[sent.playbook, sent.channel, sent.currency] += sent.cost
    found: dict[str, dict[str, list[str]]] = {}
    for (playbook, channel, currency), amount in sorted(spent.items()):
        found.setdefault(playbook, {}).setdefault(channel, []).append(shown(amount, currency))
    return found


def _all(connection: Connection, kind: Kind, labels: Sequence[str] = ()) -> Iterator[Fact]:
    position = 0
    while page := ledger.read_after(connection, position, kind=kind, labels=labels):
        yield from page
        position = page[-1].seq


def _sizes(counts: Mapping[str, int]) -> dict[str, int]:
    """Return who entered less who left, by audience."""
    sizes: Counter[str] = Counter()
    for label, number in counts.items():
        audience, _, change = label.rpartition(".")
        sizes[audience] += number if change == "entered" else -number
    return dict(sorted(sizes.items()))
