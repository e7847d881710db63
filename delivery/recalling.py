"""Recall: a wrong message went out. Finds everyone, and takes back what can be taken back.

Everything is done in pieces that are whole by themselves, under ids that are the same each time: one that was
interrupted is asked for again, and goes on. Nobody gets two corrections.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Literal
from uuid import NAMESPACE_OID, uuid5

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection

from delivery import outbox_repository as outbox
from delivery import recall_repository, repository
from delivery.coupons.models import Coupon, State
from delivery.coupons.wallet import Wallet
from delivery.effects import ended_fact
from delivery.errors import RecallRefused
from delivery.executor import Executor
from delivery.models import MessageState, Status
from delivery.outbox_repository import Settled
from delivery.recall_repository import PIECE, Went
from delivery.settling import suppression
from playbooks.decision import certain
from playbooks.library.service import LibraryService
from playbooks.models import Arm
from playbooks.money import shown
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.writer import Lane

LABEL = "recall"
RESULT = "recalled"
# People whose ids an answer lists; the rest are counted.
_LISTED = 1_000


class Wish(msgspec.Struct, frozen=True):
    """What to recall: messages of a playbook version that went out with since <= moment < until.

    `coupons`: `void` those that nobody used, or `honour` them. `correction` names a served playbook with one
    variant, which everybody who got a message is sent through, once.
    """

    playbook: str
    version: int
    since: datetime
    until: datetime
    why: str
    coupons: Literal["void", "honour"] = "honour"
    correction: str | None = None


class Recalled(msgspec.Struct, frozen=True):
    """What a recall found, and did unless it was a rehearsal.

    `exposure` is what coupons that nobody used yet may cost at worst, `spent` what used ones do, each by
    currency as money is written. `in_hand` messages are being handed over at this moment.
    """

    users: int
    messages: int
    user_ids: list[str]
    queued: int
    in_hand: int
    runs: int
    coupons_open: int
    coupons_used: int
    exposure: list[str]
    spent: list[str]
    decisions: int
    voided: int = 0
    corrections: int = 0
    dry_run: bool = True


class Mark(msgspec.Struct, frozen=True):
    """Body of the fact that a decision is left out of learning, because its message was recalled."""

    playbook: str
    version: int
    why: str


class Recalls:
    """Recalls messages of one database. Thread-safe."""

    def __init__(
        self, database: Database, clock: Clock, library: LibraryService, executor: Executor, wallet: Wallet
    ) -> None:
        self._database, self._clock = database, clock
        self._library, self._executor, self._wallet = library, executor, wallet

    def recall(self, wish: Wish, *, by: str, dry_run: bool) -> Recalled:
        """Say what a recall finds; do it, unless it is a dry run.

        Raises:
            UnknownPlaybook: there is no such version, or no playbook for the correction.
            RecallRefused: the times are the wrong way round, or the correction has several variants.
        """
        if wish.since >= wish.until:
            raise RecallRefused("`until` is not after `since`: nothing lies in between")
        self._library.version(wish.playbook, wish.version)
        correction = None if wish.correction is None else self._correction(wish.correction)
        with self._database.read() as connection:
            went = list(
                recall_repository.went_out(connection, wish.playbook, wish.version, wish.since, wish.until)
            )
            queued = recall_repository.queued_of(connection, wish.playbook, wish.version)
            runs = sorted({one.enrolment_id for one in went} | {one.enrolment_id for one in queued})
            found = self._found(connection, went, runs, [one.holder is not None for one in queued])
        if dry_run:
            return found
        cancelled = self._in_pieces([one.key for one in queued], partial(self._cancel, wish=wish))
        voided = self._in_pieces(runs, partial(self._end, wish=wish))
        corrected = 0
        if correction is not None:
            people = sorted({one.user_id for one in went if one.user_id})
            arm, version = correction
            work = partial(self._correct, wish=wish, arm=arm, version=version)
            corrected = self._in_pieces(people, work)
        done = replace(found, queued=cancelled, voided=voided, corrections=corrected, dry_run=False)
        self._tell(wish, by, done)
        return done

    def _found(
        self, connection: Connection, went: Sequence[Went], runs: Sequence[str], in_hand: Sequence[bool]
    ) -> Recalled:
        users = sorted({one.user_id for one in went if one.user_id})
        coupons = [
            one
            for start in range(0, len(runs), PIECE)
            for one in recall_repository.coupons_of(connection, runs[start : start + PIECE])
        ]
        open_ = [one for one, state in coupons if state == State.ISSUED]
        used = [one for one, state in coupons if state == State.USED]
        return Recalled(
            users=len(users),
            messages=len(went),
            user_ids=users[:_LISTED],
            queued=len(in_hand) - sum(in_hand),
            in_hand=sum(in_hand),
            runs=len(runs),
            coupons_open=len(open_),
            coupons_used=len(used),
            exposure=_money(open_),
            spent=_money(used),
            decisions=len(runs),
        )

    def _correction(self, name: str) -> tuple[Arm, int]:
        one, body = self._library.version(name)
        if len(body.arms) != 1:
            raise RecallRefused(
                f"the correction {name!r} has {len(body.arms)} variants; everybody gets the same: give it one"
            )
        return body.arms[0], one.version

    def _in_pieces(self, items: Sequence[str], work: Callable[..., int]) -> int:
        """Do work on (connection, items) piece by piece; return the sum of what it returned."""
        total = 0
        for start in range(0, len(items), PIECE // 4):
            piece = partial(_on, work, items[start : start + PIECE // 4])
            total += self._database.write(piece, rows=PIECE, lane=Lane.BACKGROUND)
        return total

    def _cancel(self, connection: Connection, keys: Sequence[str], wish: Wish) -> int:
        now = self._clock.now()
        found = recall_repository.claim_waiting(connection, keys)
        runs = repository.enrolments_of(connection, [one.enrolment_id for one in found])
        rule = f"recall.{wish.playbook}@{wish.version}"
        outbox.settle(connection, [Settled(one.key, MessageState.SUPPRESSED, reason=rule) for one in found])
        recall_repository.forget_parked(connection, [one.key for one in found])
        facts = [suppression(one, runs[one.enrolment_id], rule, now) for one in found]
        ledger.append(connection, facts, now)
        return len(found)

    def _end(self, connection: Connection, ids: Sequence[str], wish: Wish) -> int:
        """End runs, leave their decisions out of learning, and void their coupons if that is wished."""
        now = self._clock.now()
        runs = recall_repository.claim_runs(connection, ids)
        active = [one for one in runs if one.status is Status.ACTIVE]
        ended = [
            replace(one, status=Status.ENDED, result=RESULT, due_at=None, waiting_for=None, entered_at=now)
            for one in active
        ]
        repository.save_enrolments(connection, ended)
        recall_repository.forget_parked(connection, [one.id for one in ended])
        ledger.append(connection, [ended_fact(one, now) for one in ended], now)
        mark = Mark(wish.playbook, wish.version, wish.why)
        marks = {
            one.decision_id: NewFact(Kind.RECALL, one.decision_id, wish.playbook, one.user_id, now, mark)
            for one in runs
        }
        ledger.append_unless_known(connection, list(marks.values()), now)
        if wish.coupons == "honour":
            return 0
        found = recall_repository.coupons_of(connection, ids, lock=True)
        open_ = [one for one, state in found if state == State.ISSUED]
        self._wallet.void(connection, open_, now)
        return len(open_)

    def _correct(
        self, connection: Connection, users: Sequence[str], wish: Wish, arm: Arm, version: int
    ) -> int:
        now = self._clock.now()
        ids = {_correction_id(wish, user): user for user in users}
        known = repository.enrolments_of(connection, list(ids))
        fresh = {one: user for one, user in ids.items() if one not in known}
        sent = [
            certain(decision_id, user, arm, version, now, placement=LABEL)
            for decision_id, user in fresh.items()
        ]
        self._executor.start(connection, [(one, arm) for one in sent])
        return len(fresh)

    def _tell(self, wish: Wish, by: str, done: Recalled) -> None:
        now = self._clock.now()
        body = {
            **msgspec.to_builtins(wish),
            "by": by,
            "done": msgspec.to_builtins(replace(done, user_ids=[])),
        }
        fact = NewFact(Kind.CHANGE, new_id(now), LABEL, None, now, body)
        self._database.write(lambda c: ledger.append(c, [fact], now), lane=Lane.REQUEST)


def _on(work: Callable[..., int], some: Sequence[str], connection: Connection) -> int:
    return work(connection, some)


def _money(coupons: Sequence[Coupon]) -> list[str]:
    sums: dict[str, int] = {}
    for one in coupons:
        if currency := one.terms.currency:
            sums[currency] = sums.get(currency, 0) + one.liability
    return [shown(amount, currency) for currency, amount in sorted(sums.items())]


def _correction_id(wish: Wish, user: str) -> str:
    said = (
        wish.playbook,
        wish.version,
        wish.since.isoformat(),
        wish.until.isoformat(),
        wish.correction,
        user,
    )
    return str(uuid5(NAMESPACE_OID, "recall:" + ":".join(map(str, said))))
