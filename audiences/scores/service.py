"""Scores of one service: follows the ledger, keeps where everybody stands, takes sales' answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Connection

from audiences.errors import NotHandedOver, UnknownScore
from audiences.identity.people import EveryoneAlone, People
from audiences.scores import repository
from audiences.scores.definitions import Score
from audiences.scores.facts import Answer, changed, hand_over_of
from audiences.scores.grading import AtOnce, Standing, Status, answered, stand
from audiences.scores.points import Grant, faded, lines_of, worth
from audiences.scores.taking import take
from storage import ledger, readers
from storage.clock import Clock
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Fact, Kind, NewFact
from storage.pace import Pace
from storage.writer import Lane

READER = "scores"
# The line of points that flows give.
BY_FLOW = "by_flow"
# At most in a turn: for every score an event may write a grant, a standing and a fact, a user the last two.
_TURN_EVENTS = 100
_TURN_USERS = 200
# Users of one look at whose time has come.
_DUE_USERS = 1_000
_FOLLOWED = (Kind.EVENT, Kind.PAST_EVENT, Kind.IDENTITY)


class Scores:
    """The scores of one service. All times are those of `clock`."""

    def __init__(
        self, database: Database, clock: Clock, scores: Sequence[Score], people: People | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._scores = {score.spec.id: score for score in scores}
        self._people = people or EveryoneAlone()
        self._taking, self._catching_up = Pace(_TURN_EVENTS), Pace(_TURN_EVENTS)
        self._aging, self._holding = Pace(_TURN_USERS), Pace(_TURN_USERS)

    @property
    def definitions(self) -> Sequence[Score]:
        """The scores there are."""
        return list(self._scores.values())

    def begin(self) -> None:
        """Let new scores begin: what is in the ledger by now is history to them, counted but quietly."""
        with self._database.read() as connection:
            new = self._scores.keys() - repository.beginnings_of(connection).keys()
        if new:
            self._database.write(partial(_begin, scores=new), rows=len(new))

    def run(self) -> int:
        """Take in new events, then change the grades whose time has come; return how many grades changed."""
        if not self._scores:
            return 0
        self.begin()
        changed = sum(self._catch_up(score) for score in self._scores.values())
        changed += self._taking.until_done(self._database, self._take_events, rows_each=3)
        return changed + sum(self._age(score) for score in self._scores.values())

    def hold(self, score: str, line: str, users: set[str]) -> int:
        """Replace for whom the rule of a line of points holds; return how many grades changed."""
        with self._database.read() as connection:
            before = repository.holders_of(connection, score, line)
            # For whom the rule of a new line holds, it has held before.
            quiet = not repository.has_begun(connection, score, line)
        changed = 0
        for holds, some in ((True, sorted(users - before)), (False, sorted(before - users))):
            work = partial(self._hold, score=self._scores[score], line=line, holds=holds, quiet=quiet)
            changed += self._holding.write(self._database, some, work, rows_each=2)
        if quiet:
            self._database.write(partial(repository.begin_line, score=score, line=line))
        return changed

    def answer(self, user_id: str, score: str, *, accepted: bool, by: str, reason: str = "") -> Standing:
        """Take sales' answer to a hand-over.

        Raises:
            UnknownScore: there is no such score, or the user never had points in it.
            NotHandedOver: the user is not with sales, or sales has answered.
        """
        known = self._score(score)
        user = self._people.canonical(user_id)
        return self._database.write(
            lambda connection: self._answer(connection, known, user, accepted, by, reason),
            rows=2,
            lane=Lane.REQUEST,
        )

    def give(
        self, connection: Connection, user_id: str, score: str, points: float, key: str, at: datetime
    ) -> None:
        """Give a user points in the caller's transaction, under the line `by_flow`; each key gives once.

        Raises:
            UnknownScore: there is no such score.
        """
        known = self._score(score)
        repository.add_grants(connection, score, [(user_id, Grant(BY_FLOW, key, at, points))])
        self._stand_anew(connection, known, {self._people.canonical(user_id)})

    def explain(self, user_id: str, score: str, *, limit: int = 200) -> dict[str, Any]:
        """Return where a user stands in a score, and every point that counts.

        Raises:
            UnknownScore: there is no such score, or nothing was ever counted for the user.
        """
        known = self._score(score)
        user, now = self._people.canonical(user_id), self._clock.now()
        with self._database.read() as connection:
            standing = repository.standings_of(connection, score, {user}).get(user)
            grants = self._grants(connection, known, {user})[user]
            held = repository.held_by(connection, score, {user}).get(user, set())
        if standing is None:
            raise UnknownScore(f"nothing was ever counted for user {user_id!r} in the score {score!r}")
        counted = _counted(grants, standing)
        by_line = worth(known, counted, now)
        lasting = _lasting(known, held, standing, counted)
        newest = sorted(counted, key=lambda grant: grant.occurred_at, reverse=True)
        return {
            "score": score,
            "user_id": user,
            "value": round(sum(by_line.values()) + sum(lasting.values()), 6),
            "grade": known.grade_at(standing.rank),
            "since": standing.since,
            "status": standing.status,
            "answered_at": standing.answered_at,
            "changes_at": standing.due_at,
            "lines": {line: round(value, 6) for line, value in {**by_line, **lasting}.items()},
            "points": [
                {
                    "line": grant.line,
                    "event_id": grant.event_id,
                    "occurred_at": grant.occurred_at,
                    "given": grant.points,
                    # Before the line's cap: what the line gives in all is in `lines`.
                    "now": round(faded(grant.points, now - grant.occurred_at, known.spec.half_life), 6),
                }
                for grant in newest[:limit]
            ],
        }

    def lines(self, score: str) -> list[str]:
        """Return the lines of points of a score. Raises UnknownScore."""
        return list(lines_of(self._score(score)))

    def grades_by_user(self) -> dict[str, dict[str, str]]:
        """Return the grade of everybody who has one, by user and score."""
        with self._database.read() as connection:
            rows = list(repository.grades(connection))
        found: dict[str, dict[str, str]] = {}
        for score, user, rank in rows:
            known = self._scores.get(score)
            # A score may have lost grades, or be gone, since the standing was kept.
            there = known is not None and rank <= len(known.spec.grades)
            if known is not None and there and self._people.canonical(user) == user:
                found.setdefault(user, {})[score] = known.grade_at(rank) or ""
        return found

    def _score(self, score: str) -> Score:
        known = self._scores.get(score)
        if known is None:
            raise UnknownScore(f"there is no score {score!r}; there are {', '.join(self._scores) or 'none'}")
        return known

    def _take_events(self, connection: Connection, limit: int) -> tuple[int, int]:
        position = readers.position_of(connection, READER)
        facts = ledger.read_after(connection, position, kind=_FOLLOWED, limit=limit)
        if not facts:
            return 0, 0
        readers.advance(connection, READER, facts[-1].seq, _FOLLOWED)
        began = repository.beginnings_of(connection)
        return len(facts), sum(
            self._take(connection, score, facts, began[name].quiet_through)
            for name, score in self._scores.items()
        )

    def _catch_up(self, score: Score) -> int:
        """Let a new score take the events that other scores had taken before it began."""
        changed = 0
        while True:
            with self._database.read() as connection:
                began = repository.beginnings_of(connection)[score.spec.id]
            if began.taken >= began.until:
                return changed
            changed += self._database.write(partial(self._some_before, score=score), rows=3 * _TURN_EVENTS)

    def _some_before(self, connection: Connection, score: Score) -> int:
        return self._catching_up.turn(connection, partial(self._take_before, connection, score))[1]

    def _take_before(self, connection: Connection, score: Score, limit: int) -> tuple[int, int]:
        began = repository.beginnings_of(connection)[score.spec.id]
        facts = ledger.read_after(
            connection,
            began.taken,
            kind=(Kind.EVENT, Kind.PAST_EVENT),
            labels=sorted({*score.by_event, *score.at_once}),
            limit=limit,
        )
        before = [fact for fact in facts if fact.seq <= began.until]
        ended = len(before) < limit
        repository.take_up_to(connection, score.spec.id, began.until if ended else before[-1].seq)
        return len(before), self._take(connection, score, before, began.quiet_through)

    def _take(self, connection: Connection, score: Score, facts: Sequence[Fact], quiet_through: int) -> int:
        taken = take(score, facts, self._people, quiet_through)
        repository.add_grants(connection, score.spec.id, taken.grants)
        return self._stand(connection, score, taken.touched, taken.at_once)

    def _age(self, score: Score) -> int:
        """Change the grades of a score whose time has come."""
        changed = 0
        while True:
            now = self._clock.now()
            with self._database.read() as connection:
                users = repository.due(connection, score.spec.id, now, _DUE_USERS)
            if not users:
                return changed
            changed += self._aging.write(
                self._database, users, partial(self._stand_again, score=score), rows_each=2
            )

    def _stand_again(self, connection: Connection, users: Sequence[str], score: Score) -> int:
        return self._stand_anew(connection, score, set(users))

    def _hold(
        self,
        connection: Connection,
        users: Sequence[str],
        score: Score,
        line: str,
        holds: bool,
        quiet: bool,
    ) -> int:
        if holds:
            repository.hold(connection, score.spec.id, line, users, self._clock.now())
        else:
            repository.let_go(connection, score.spec.id, line, users)
        return self._stand_anew(connection, score, set(users), quiet=quiet)

    def _stand_anew(
        self, connection: Connection, score: Score, users: set[str], *, quiet: bool = False
    ) -> int:
        return self._stand(connection, score, dict.fromkeys(sorted(users), quiet), {})

    def _stand(
        self,
        connection: Connection,
        score: Score,
        touched: Mapping[str, bool],
        at_once: Mapping[str, AtOnce],
    ) -> int:
        """Work out where users stand; `touched` says whether only history touched each."""
        if not touched:
            return 0
        now = self._clock.now()
        before = repository.standings_of(connection, score.spec.id, touched.keys())
        held = repository.held_by(connection, score.spec.id, touched.keys())
        grants = self._grants(connection, score, touched.keys())
        after: dict[str, Standing] = {}
        changes: list[NewFact] = []
        for user, quiet in sorted(touched.items()):
            old = before.get(user) or Standing(0, now)
            if self._people.canonical(user) != user:
                # Joined to somebody, who has the points now; it stands where it stood when they part again.
                after[user] = msgspec.structs.replace(old, due_at=None)
                continue
            counted = _counted(grants[user], old)
            by_line = worth(score, counted, now)
            lasting = _lasting(score, held.get(user, set()), old, counted)
            new = stand(score, old, sum(by_line.values()), sum(lasting.values()), now, at_once.get(user))
            after[user] = new
            if (new.rank, new.status) != (old.rank, old.status):
                changes.append(changed(score, user, old, new, {**by_line, **lasting}, quiet, now))
        repository.keep_standings(connection, score.spec.id, after)
        ledger.append(connection, changes, now)
        return len(changes)

    def _grants(
        self, connection: Connection, score: Score, users: Sequence[str] | Any
    ) -> dict[str, list[Grant]]:
        """Return the grants of persons, of all their profiles together."""
        members = {user: self._people.members(user) for user in users}
        profiles = {profile for of_user in members.values() for profile in of_user}
        found = repository.grants_of(connection, score.spec.id, profiles)
        return {
            user: [grant for profile in of_user for grant in found.get(profile, [])]
            for user, of_user in members.items()
        }

    def _answer(
        self, connection: Connection, score: Score, user: str, accepted: bool, by: str, reason: str
    ) -> Standing:
        now = self._clock.now()
        before = repository.standings_of(connection, score.spec.id, {user}).get(user)
        if before is None:
            raise UnknownScore(f"nothing was ever counted for user {user!r} in the score {score.spec.id!r}")
        if before.status is not Status.HANDED_OVER:
            raise NotHandedOver(
                f"user {user!r} is {before.status.value.replace('_', ' ')} in the score {score.spec.id!r}, "
                "not handed over: there is nothing to answer"
            )
        after = answered(before, accepted=accepted, now=now)
        repository.keep_standings(connection, score.spec.id, {user: after})
        handed = hand_over_of(connection, score.spec.id, user)
        body = Answer(score.spec.id, accepted, by, reason, handed.value, handed.lines)
        label = f"{score.spec.id}.{'accepted' if accepted else 'rejected'}"
        ledger.append(connection, [NewFact(Kind.SCORE, new_id(now), label, user, now, body)], now)
        return after


def _begin(connection: Connection, scores: Collection[str]) -> None:
    head, passed = ledger.head(connection), readers.position_of(connection, READER)
    repository.begin(connection, scores, quiet_through=head, until=passed)


def _counted(grants: Sequence[Grant], standing: Standing) -> list[Grant]:
    """Return the grants that count: those since sales rejected the user, or all."""
    start = standing.counted_from
    return [grant for grant in grants if start is None or grant.occurred_at > start]


def _lasting(score: Score, held: set[str], standing: Standing, counted: Sequence[Grant]) -> dict[str, float]:
    """Return what rules over features give; after a rejection nothing until something new happened."""
    if standing.counted_from is not None and not counted:
        return {}
    points = lines_of(score)
    return {line: points[line] for line in sorted(held) if line in points}
