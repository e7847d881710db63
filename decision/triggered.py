"""What fired triggers begin: decisions among the playbooks that name them, and the runs of what is drawn.

Firings are taken in blocks. What a block comes to is decided outside the writer, of all its users at once,
and written in turns, each with how far the firings are dealt with: what is interrupted goes on from there, so
that no firing begins anything twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple, Protocol

import structlog
from sqlalchemy import Connection

from audiences.identity.people import People
from decision.recording import Recorder
from decision.recording_together import MadeTogether, RecorderTogether
from decision.together import Ask, Together
from playbooks.library import Library
from playbooks.library.serving import PublishedPlaybook
from playbooks.matching import Snapshot
from playbooks.matching_many import WorkedOut
from storage import ledger, readers
from storage.clock import Clock
from storage.engine import Database
from storage.errors import NextplayError
from storage.leases import LeaseLost
from storage.ledger import Fact, Kind
from storage.pace import A_FEW, Pace
from storage.statements import savepoint

_log = structlog.get_logger(__name__)

READER = "decision.triggered"
# Firings that are decided for together, and those of one turn: each may write a decision, a reservation, an
# enrolment and its facts.
_BLOCK = 200
_TURN = 100
_ROWS = 5
# A firing that became known longer ago begins nothing: nobody waited for it, or nobody followed yet.
_FRESH = timedelta(hours=1)

# A trigger, and the placement of some of the playbooks that name it.
Way = tuple[str, str]


class Serving(Protocol):
    """Knows what decides in transactions of the jobs."""

    def snapshot(self, connection: Connection, library: Library) -> Snapshot:
        """Return what is served now, with a library in the place of all that is."""
        ...


class Newer(Protocol):
    """Loads the library that is live (`playbooks.library.loading.Loader`)."""

    def newer(self, connection: Connection) -> Library | None:
        """Return the library if it changed since it was last loaded."""
        ...


class _Taken(NamedTuple):
    """A firing of a block: between which places of the ledger it lies, and its decisions in what was made."""

    after: int
    seq: int
    decisions: Sequence[tuple[Way, int]]


class _Block(NamedTuple):
    """Firings in their order, none of them of one person, and the decisions that were made of them."""

    taken: Sequence[_Taken]
    made: dict[Way, MadeTogether]

    def parts(self, share: Sequence[_Taken]) -> Iterator[MadeTogether]:
        """Yield the decisions of some firings that follow each other."""
        places: dict[Way, list[int]] = {}
        for one in share:
            for way, place in one.decisions:
                places.setdefault(way, []).append(place)
        for way, some in places.items():
            yield self.made[way].part(some[0], some[-1] + 1)


class Triggered:
    """Follows the firings of triggers, each once; one of them works at a time."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        loader: Newer,
        serving: Serving,
        together: Together,
        recorder: Recorder,
        recording: RecorderTogether,
        people: People,
    ) -> None:
        """Wire it.

        Args:
            loader: of the library that is live.
            together: decides for blocks, also for users of whom no features are known.
            recording: writes decisions and starts their runs; `recorder` knows which policies have decided.
        """
        self._database, self._clock, self._loader, self._serving = database, clock, loader, serving
        self._together, self._recorder, self._recording = together, recorder, recording
        self._people = people
        self._library = Library(())
        self._serves: dict[Way, WorkedOut] = {}
        # What that was worked out from.
        self._from: Snapshot | None = None
        self._pace = Pace(_TURN, A_FEW)

    def run(self) -> int:
        """Decide for what fired since the last time; return how many decisions were made.

        Raises:
            NextplayError: nothing can be read or written now; what is left is taken the next time.
        """
        total = 0
        while (block := self._next()) is not None:
            total += self._keep(block)
        return total

    def _next(self) -> _Block | None:
        """Return the next firings with their decisions; None when there are none."""
        with self._database.read() as connection:
            position = readers.position_of(connection, READER)
            found = ledger.read_after(connection, position, kind=Kind.TRIGGER, limit=_BLOCK)
            if not found:
                return None
            facts = self._of_different_people(found)
            self._follow(connection)
        asks: dict[Way, list[Ask]] = {}
        taken: list[_Taken] = []
        for fact in facts:
            decisions = []
            for way in self._ways(fact):
                some = asks.setdefault(way, [])
                decisions.append((way, len(some)))
                user = self._people.canonical(fact.user_id or "")
                some.append(Ask(user, f"trigger:{fact.id}:{way[1]}"))
            taken.append(_Taken(position, fact.seq, decisions))
            position = fact.seq
        made: dict[Way, MadeTogether] = {}
        try:
            for way, some in asks.items():
                serves = self._serves[way]
                made[way] = self._together.make(serves.snapshot, some, way[1], serves)
        except BaseException:
            for one in made.values():
                one.drop()
                self._together.let_go(one)
            raise
        return _Block(taken, made)

    def _of_different_people(self, facts: Sequence[Fact]) -> Sequence[Fact]:
        """Return facts up to a person's second: what one decision takes the next is to see."""
        seen: set[str] = set()
        for place, fact in enumerate(facts):
            person = self._people.canonical(fact.user_id) if fact.user_id else fact.id
            if person in seen:
                return facts[:place]
            seen.add(person)
        return facts

    def _follow(self, connection: Connection) -> None:
        """Serve what is published now; what was worked out before holds while that is the same."""
        self._library = self._loader.newer(connection) or self._library
        now, before = self._serving.snapshot(connection, self._library), self._from
        if (
            before is not None
            and before.library is now.library
            and before.policy is now.policy
            and before.controls == now.controls
        ):
            return
        self._from = now
        by_way: dict[Way, list[PublishedPlaybook]] = {}
        for one in self._library.playbooks:
            if one.document.trigger is not None:
                by_way.setdefault((one.document.trigger, one.document.placement), []).append(one)
        self._serves = {
            way: WorkedOut(replace(now, library=Library(tuple(some), rules=self._library.rules)))
            for way, some in by_way.items()
        }

    def _ways(self, fact: Fact) -> list[Way]:
        if fact.user_id is None or fact.recorded_at < self._clock.now() - _FRESH:
            return []
        return [way for way in self._serves if way[0] == fact.label]

    def _keep(self, block: _Block) -> int:
        """Write what a block came to; return how many decisions that were."""
        written = tried = total = 0

        def write(connection: Connection, share: Sequence[_Taken]) -> int:
            nonlocal tried
            tried = written + len(share)
            first, last = share[0].after, share[-1].seq
            if not readers.advance_from(connection, READER, first, last, [Kind.TRIGGER]):
                raise LeaseLost("the firings of triggers are followed elsewhere; nothing was written")
            return sum(self._record(connection, part) for part in block.parts(share))

        try:
            for share, number in self._pace.turns(self._database, block.taken, write, rows_each=_ROWS):
                written += len(share)
                total += number
        except BaseException:
            # What the database did with the turn that failed is not known: that returns by expiry.
            for part in block.parts(block.taken[max(tried, written) :]):
                part.drop()
            raise
        finally:
            for made in block.made.values():
                self._together.let_go(made)
        decided = [one.decision for made in block.made.values() for one in made.ones]
        for policy in {one.policy for one in decided if one.fallback is None}:
            self._recorder.note(policy)
        return total

    def _record(self, connection: Connection, part: MadeTogether) -> int:
        """Record decisions; return how many. What fails for one must not spoil the transaction for others."""
        try:
            with savepoint(connection):
                return len(self._recording.record(connection, part))
        except NextplayError as error:
            if len(part.ones) > 1:
                alone = [part.part(place, place + 1) for place in range(len(part.ones))]
                return sum(self._record(connection, one) for one in alone)
            part.drop()
            key = part.ones[0].decision.request_key
            _log.error("a trigger began nothing", firing=key, error=str(error))
            return 0
