"""Decides for a block of users at once: what is read, matched and reserved is for all of them together.

Of each user the decision is the one that `Decider.submit` makes of them alone (`playbooks.matching_many`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import structlog

from audiences.errors import FeaturesDamaged
from audiences.features import FeatureReader, Features
from audiences.identity.people import People
from decision.answers import DEADLINE, FEATURES_UNREACHABLE, POLICY_BROKEN
from decision.context import Context, told_with
from decision.deadline import Deadline
from decision.in_flight import InFlight, minded
from decision.inline import InlineMessages, message_of
from decision.recording import wanted_of
from decision.recording_together import MadeTogether, One
from decision.reserving import loss_of
from decision.surroundings import Surroundings
from decision.usable import usable
from playbooks.alike import Case
from playbooks.constraints.circumstances import Circumstances, Needs
from playbooks.counters import Counters, Wanted
from playbooks.decision import Decision
from playbooks.eligible import needs_at
from playbooks.exploring import is_exploration
from playbooks.matching import Request, Snapshot, fall_back
from playbooks.matching_many import Asked, Block, WorkedOut
from storage.clock import Clock
from storage.engine import Database
from storage.errors import NextplayError
from storage.ids import new_ids

_log = structlog.get_logger(__name__)

# Users whose prices follow from the same levels of budgets; what they take counts for those after them.
WAVE = 50
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Ask(NamedTuple):
    """Of whom a decision of a block is asked, by the canonical id, under which key, and how.

    `fallback` says why nobody can be decided for.
    """

    user: str
    key: str | None = None
    context: Context = _NOTHING
    deadline: Deadline | None = None
    fallback: str | None = None


class _Known(NamedTuple):
    """A user of whom features are known, their place in the block, and what constraints ask for."""

    place: int
    features: Mapping[str, Any]
    audiences: Set[str]
    needs: Needs


class Together:
    """Makes decisions of a block, without recording anything. Thread-safe."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        features: FeatureReader,
        audiences_of: Callable[[str], Set[str]],
        people: People,
        insiders: Set[str],
        surroundings: Surroundings,
        in_flight: InFlight,
        counters: Counters,
        messages: InlineMessages | None,
        *,
        at_once: bool = True,
    ) -> None:
        """See `Decider`, whose parts these are.

        Args:
            at_once: somebody waits for the answers, so who is not known falls back, and so do all while no
                features can be read. Otherwise who is not known has none, and what can't be read is raised.
        """
        self._at_once = at_once
        self._database, self._clock, self._features = database, clock, features
        self._audiences_of, self._people, self._insiders = audiences_of, people, insiders
        self._surroundings, self._in_flight = surroundings, in_flight
        self._counters, self._messages = counters, messages
        # What blocks worked out for the snapshot that decided last.
        self._worked_out: WorkedOut | None = None

    def make(
        self, snapshot: Snapshot, asks: Sequence[Ask], placement: str, worked_out: WorkedOut | None = None
    ) -> MadeTogether:
        """Decide for users of whom none is there twice, and reserve.

        Args:
            worked_out: for the snapshot by blocks before; None: what this keeps of the one that decided last.

        Raises:
            UnknownPlacement: no playbook serves the placement.
        """
        now = self._clock.now()
        ids = new_ids(now, len(asks))
        requests = [
            Request(
                one, ask.user, placement, ask.key or one, bool(self._insiders) and self._is_insider(ask.user)
            )
            for one, ask in zip(ids, asks, strict=True)
        ]
        if worked_out is None:
            worked_out = self._worked_out
            if worked_out is None or worked_out.snapshot is not snapshot:
                worked_out = self._worked_out = WorkedOut(snapshot)
        block = Block(snapshot, placement, now, worked_out)
        try:
            return self._made(block, snapshot, asks, requests, placement, now)
        except Exception:
            # What exploring would have cost some of them is minded by nobody any more.
            for one in ids:
                self._in_flight.let_go(one)
            raise

    def _made(
        self,
        block: Block,
        snapshot: Snapshot,
        asks: Sequence[Ask],
        requests: Sequence[Request],
        placement: str,
        now: datetime,
    ) -> MadeTogether:
        found: list[One | None] = [None] * len(asks)
        known: list[_Known] = []
        needs: dict[frozenset[str], Needs] = {}
        for place, read in enumerate(self._read(asks)):
            if isinstance(read, str):
                found[place] = self._fallen(snapshot, requests[place], now, read)
                continue
            ask = asks[place]
            audiences = self._audiences_of(ask.user)
            own = needs.get(inside := frozenset(audiences))
            if own is None:
                own = needs[inside] = needs_at(snapshot.library, placement, audiences, now)
            if requests[place].test and own.account:
                # What colleagues share is not theirs to use up.
                own = msgspec.structs.replace(own, account=False)
            values = told_with(read.values, ask.context)
            known.append(_Known(place, values, audiences, own))
        for one, made in zip(known, self._decided(block, snapshot, requests, known, now), strict=True):
            found[one.place] = made
        everybody = [
            one if ask.deadline is None else self._within(ask.deadline, one, snapshot, request, now)
            for one, ask, request in zip(found, asks, requests, strict=True)
            if one is not None
        ]
        wanted = [each for one in everybody for each in one.wanted]
        reserved = self._counters.reserve_many(wanted, now) if wanted else None
        budgets = any(own.budgets for own in needs.values())
        return MadeTogether(everybody, snapshot.library, reserved, budgets)

    def let_go(self, made: MadeTogether) -> None:
        """Mind no more what is durable now, or never will be."""
        for one in made.ones:
            self._in_flight.let_go(one.decision.decision_id)

    def _is_insider(self, user: str) -> bool:
        return not self._insiders.isdisjoint(self._people.members(user))

    def _read(self, asks: Sequence[Ask]) -> list[Features | str]:
        """Return the features of each user, or why there are none."""
        reasons = [_reason(ask) for ask in asks]
        users = [ask.user for ask, reason in zip(asks, reasons, strict=True) if reason is None]
        read = iter(self._read_of(users) if users else ())
        return [next(read) if reason is None else reason for reason in reasons]

    def _read_of(self, users: Sequence[str]) -> list[Features | str]:
        if not self._at_once:
            return list(self._features.read_many(users))
        try:
            read = self._features.read_many(users)
        except FeaturesDamaged:
            # Of one of them, which is no reason for the others to go without.
            if len(users) > 1:
                return [one for user in users for one in self._read_of([user])]
            return [FEATURES_UNREACHABLE]
        except NextplayError:
            return [FEATURES_UNREACHABLE] * len(users)
        return list(usable(self._database, users, read))

    def _decided(
        self,
        block: Block,
        snapshot: Snapshot,
        requests: Sequence[Request],
        known: Sequence[_Known],
        now: datetime,
    ) -> list[One]:
        """Decide for users of whom something is known, in waves where they take from the same budgets."""
        needs = Needs()
        for own in {one.needs for one in known}:
            needs |= own
        wave = len(known) or 1
        if needs.budgets:
            # What one explores within a day's budget is minded by the next.
            wave = 1 if any(is_exploration(one) for one in needs.budgets) else WAVE
        made: list[One] = []
        taken: Counter[str] = Counter()
        with self._in_flight.turn(needs) as under_way:
            users = [requests[one.place].user_id for one in known]
            values = [one.features for one in known]
            read = self._surroundings.of_many(users, [one.needs for one in known], values, now)
            if under_way:
                read = [minded(one, under_way) for one in read]
            while len(made) < len(known):
                some = slice(len(made), len(made) + wave)
                asked = [
                    Asked(requests[one.place], _case(requests[one.place], one, minded(around, taken)))
                    for one, around in zip(known[some], read[some], strict=True)
                ]
                for one in self._while_it_fits(snapshot, asked, block.decide(asked), now):
                    made.append(one)
                    if needs.budgets:
                        taken.update(_amounts(one.wanted))
        return made

    def _while_it_fits(
        self,
        snapshot: Snapshot,
        asked: Sequence[Asked],
        decided: Sequence[Decision | Exception],
        now: datetime,
    ) -> Iterator[One]:
        """Yield decisions up to the first that is drawn what those before it have left no room for."""
        taken: Counter[str] = Counter()
        for place, (one, decision) in enumerate(zip(asked, decided, strict=True)):
            made = self._one(snapshot, one, decision, now)
            levels = one.case.circumstances.levels
            spends = [spend for wanted in made.wanted for spend in wanted.spends]
            for spend in spends:
                key = spend.budget.key
                if place and levels.get(key, 0) + taken[key] + spend.amount > spend.budget.limit:
                    return
            self._in_flight.hold(snapshot.library, made.decision)
            if spends:
                taken.update(_amounts(made.wanted))
            yield made

    def _one(self, snapshot: Snapshot, asked: Asked, made: Decision | Exception, now: datetime) -> One:
        if isinstance(made, Exception):
            _log.error("policy failed", policy=snapshot.policy.version, error=str(made))
            return self._fallen(snapshot, asked.request, now, POLICY_BROKEN)
        library = snapshot.library
        wanted = [wanted_of(library, made, asked.case.circumstances), loss_of(library, made)]
        message = message_of(self._messages, library, made)
        return One(made, [one for one in wanted if one is not None], message)

    def _fallen(self, snapshot: Snapshot, request: Request, now: datetime, reason: str) -> One:
        decision = fall_back(snapshot, request, now, reason)
        return One(decision, message=message_of(self._messages, snapshot.library, decision))

    def _within(
        self, deadline: Deadline, one: One, snapshot: Snapshot, request: Request, now: datetime
    ) -> One:
        """Return a decision that turns into its fallback when a deadline passes, or has done so."""
        late = self._fallen(snapshot, request, now, DEADLINE)
        if deadline.passed:
            one = late
        return one._replace(deadline=deadline, late=late.decision, late_message=late.message)


def _reason(ask: Ask) -> str | None:
    """Return why nothing need be read of a user."""
    if ask.fallback is None and ask.deadline is not None and ask.deadline.passed:
        return DEADLINE
    return ask.fallback


def _case(request: Request, known: _Known, circumstances: Circumstances) -> Case:
    return Case(request.user_id, known.features, known.audiences, circumstances)


def _amounts(wanted: Sequence[Wanted]) -> Mapping[str, int]:
    amounts: dict[str, int] = {}
    for one in wanted:
        for spend in one.spends:
            amounts[spend.budget.key] = amounts.get(spend.budget.key, 0) + spend.amount
    return amounts
