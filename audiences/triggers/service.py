"""Triggers of one service: follow the ledger, waits, dates and calendars, and fire once per cause."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection

from audiences.errors import TriggerError, UnknownTrigger
from audiences.identity.people import EveryoneAlone, People
from audiences.rules.source import closest
from audiences.stages.facts import StageChange
from audiences.triggers import repository
from audiences.triggers.calls import calls, calls_of, causes_of_date
from audiences.triggers.definitions import (
    OnDate,
    OnEvent,
    OnSchedule,
    OnStage,
    Trigger,
    Triggers,
)
from audiences.triggers.firing import Cause, fire
from audiences.triggers.matching import KINDS, cause_of, counted, is_cause, stayed_away
from audiences.triggers.repository import Wait
from audiences.zones import EACH_USERS_OWN
from storage import ledger, readers
from storage.clock import Clock
from storage.engine import Database
from storage.ledger import Fact, Kind
from storage.pace import A_FEW, Pace
from storage.writer import Lane

READER = "triggers"
# Stages of accounts concern many users each, so they are followed by themselves.
ACCOUNTS_READER = "triggers.accounts"
# At most in a turn: a cause may write a fact, a firing, and a tag with its own.
_TURN_FACTS = 100
_TURN_CAUSES = 100
_ROWS_OF_CAUSE = 4
# Waits of one look at which of them are over, and users who may be named in one request.
_OVER, _BY_HAND = 1_000, 100
# How often calendars are looked at, and whatever needs a look at every user.
_LOOKS_AT_CALENDARS = timedelta(seconds=1)
_LOOKS_AT_USERS = timedelta(minutes=5)

# Audiences that each of some users is in, and their values of some features.
Inside = Callable[[Sequence[str]], Mapping[str, Collection[str]]]
Values = Callable[[Sequence[str]], tuple[Sequence[str], Mapping[str, Sequence[Any]]]]
Members = Callable[[str], Collection[str]]


class TriggerService:
    """The triggers of one service. All times are those of `clock`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        triggers: Triggers,
        *,
        inside: Inside,
        members: Members,
        values: Values,
        of_account: Members | None = None,
        people: People | None = None,
    ) -> None:
        """Wire the triggers.

        Args:
            inside: says which audiences users are in now.
            members: says who is in an audience now.
            of_account: says whose account one is; without it nobody belongs to any.
            values: returns all users, and their values of the features asked for, in the same order.
        """
        self._database = database
        self._clock = clock
        self._zones = triggers.zones
        self._triggers = {one.spec.id: one for one in triggers.triggers}
        self._inside, self._members, self._values = inside, members, values
        self._of_account = of_account or (lambda _: ())
        self._people = people or EveryoneAlone()
        self._following, self._firing = Pace(_TURN_FACTS, A_FEW), Pace(_TURN_CAUSES, A_FEW)

    def run(self) -> int:
        """Fire what has come about up to now; return how many times triggers fired."""
        if not self._triggers:
            return 0
        fired, head = 0, self._head_of_new()
        if head is not None:
            follow = partial(self._follow, head=head)
            fired = self._following.until_done(self._database, follow, rows_each=3)
        fired += self._follow_accounts()
        for trigger in self._triggers.values():
            match trigger.spec.when:
                case OnEvent(unless=unless) if unless is not None:
                    fired += self._end_waits(trigger)
                case OnDate() as on:
                    fired += self._come_to_dates(trigger, on)
                case OnSchedule() as on:
                    fired += self._call(trigger, on)
                case _:
                    pass
        return fired

    def fire_by_hand(self, trigger: str, users: Sequence[str], *, by: str, key: str) -> int:
        """Fire a trigger, whatever it is on, for some users; return for how many it did.

        The same `key` fires at most once for a user. `audience`, `again` and `tag` count as always.

        Raises:
            UnknownTrigger: there is no such trigger.
            TriggerError: there are more users than a turn takes.
        """
        known = self._triggers.get(trigger)
        if known is None:
            hint = closest(trigger, list(self._triggers))
            there = ", ".join(self._triggers) or "none"
            raise UnknownTrigger(f"there is no trigger {trigger!r}, {hint or f'there are {there}'}")
        if len(users) > _BY_HAND:
            raise TriggerError(f"{len(users)} users are too many at a time: send at most {_BY_HAND}")
        now = self._clock.now()
        causes = [
            Cause(person, f"by_hand:{key}", now)
            for person in sorted({self._people.canonical(user) for user in users})
        ]
        return self._database.write(
            partial(self._fire, causes=causes, trigger=known, by=by),
            rows=_ROWS_OF_CAUSE * max(1, len(causes)),
            lane=Lane.REQUEST,
        )

    def describe(self) -> list[dict[str, Any]]:
        """Return every trigger as defined, for how many users it ever fired, and when it did last."""
        with self._database.read() as connection:
            counts = repository.counts(connection)
        found = []
        for trigger in self._triggers.values():
            users, last = counts.get(trigger.spec.id, (0, None))
            found.append({**trigger.spec.model_dump(mode="json"), "users": users, "last_fired_at": last})
        return found

    def _head_of_new(self) -> int | None:
        """Return up to where there is something to follow; None: the writer need not be waited for.

        What comes in meanwhile is for the next time: what fired is to be decided on first.
        """
        with self._database.read() as connection:
            position = readers.position_of(connection, READER)
            if not ledger.read_after(connection, position, kind=KINDS, limit=1):
                return None
            return ledger.head(connection)

    def _follow(self, connection: Connection, limit: int, head: int) -> tuple[int, int]:
        position = readers.position_of(connection, READER)
        page = ledger.read_after(connection, position, kind=KINDS, limit=limit)
        facts = [fact for fact in page if fact.seq <= head]
        if not facts:
            return 0, 0
        readers.advance(connection, READER, facts[-1].seq, KINDS)
        persons = {
            fact.user_id: self._people.canonical(fact.user_id) for fact in facts if fact.user_id is not None
        }
        inside = self._inside(sorted(set(persons.values())))
        fired = 0
        for trigger in self._triggers.values():
            found = [fact for fact in facts if fact.user_id is not None and is_cause(trigger, fact)]
            if found:
                causes = self._causes(connection, trigger, found, persons)
                fired += fire(connection, trigger, causes, inside, self._clock.now())
        return len(facts), fired

    def _follow_accounts(self) -> int:
        """Fire for everybody of the accounts that came to a stage; what is interrupted goes on, once each."""
        on_stages = [
            (one, one.spec.when) for one in self._triggers.values() if isinstance(one.spec.when, OnStage)
        ]
        labels = sorted({f"{on.lifecycle}.{on.stage}" for _, on in on_stages})
        fired = 0
        while labels:
            with self._database.read() as connection:
                position = readers.position_of(connection, ACCOUNTS_READER)
                facts = ledger.read_after(connection, position, kind=Kind.STAGE, labels=labels)
            if not facts:
                break
            for fact in (one for one in facts if one.user_id is None):
                triggers = [trigger for trigger, _ in on_stages if is_cause(trigger, fact)]
                users = sorted(self._of_account(fact.decode(StageChange).account_id)) if triggers else []
                causes = [cause_of(user, fact) for user in users]
                fired += sum(self._fire_in_turns(trigger, causes) for trigger in triggers)
            self._database.write(
                partial(readers.advance, reader=ACCOUNTS_READER, position=facts[-1].seq, kinds=[Kind.STAGE])
            )
        return fired

    def _causes(
        self,
        connection: Connection,
        trigger: Trigger,
        found: Sequence[Fact],
        persons: Mapping[str, str],
    ) -> list[Cause]:
        """Return the causes that new facts are; those that must first be followed by silence begin waits."""
        on = trigger.spec.when
        if isinstance(on, OnEvent) and on.unless is not None:
            waits = [
                Wait(
                    persons[fact.user_id or ""], fact.id, fact.occurred_at, fact.occurred_at + on.unless.after
                )
                for fact in found
            ]
            repository.wait(connection, trigger.spec.id, waits)
            return []
        if isinstance(on, OnEvent) and on.count > 1:
            by_person: dict[str, list[Fact]] = {}
            for fact in found:
                by_person.setdefault(persons[fact.user_id or ""], []).append(fact)
            last = repository.last_firings(connection, trigger.spec.id, by_person)
            return [
                cause_of(person, fact)
                for person, of_person in by_person.items()
                for fact in counted(
                    connection,
                    trigger,
                    on,
                    self._people.members(person),
                    of_person,
                    last[person].used if person in last else None,
                )
            ]
        return [cause_of(persons[fact.user_id or ""], fact) for fact in found]

    def _end_waits(self, trigger: Trigger) -> int:
        on = trigger.spec.when
        assert isinstance(on, OnEvent)  # noqa: S101 - the caller saw to it
        fired = 0
        while True:
            now = self._clock.now()
            with self._database.read() as connection:
                over = repository.due_waits(connection, trigger.spec.id, now, _OVER)
                ends = [(wait, self._silence(connection, trigger, on, wait)) for wait in over]
            if not over:
                return fired
            fired += self._firing.write(
                self._database, ends, partial(self._end, trigger=trigger), rows_each=_ROWS_OF_CAUSE
            )

    def _silence(self, connection: Connection, trigger: Trigger, on: OnEvent, wait: Wait) -> Cause | None:
        """Return the cause that the end of a wait is, if what must stay away did."""
        if not stayed_away(connection, trigger, on, self._people.members(wait.user_id), wait):
            return None
        return Cause(wait.user_id, wait.cause, wait.due_at)

    def _end(
        self, connection: Connection, ends: Sequence[tuple[Wait, Cause | None]], trigger: Trigger
    ) -> int:
        repository.end_waits(connection, trigger.spec.id, [wait for wait, _ in ends])
        return self._fire(connection, [cause for _, cause in ends if cause is not None], trigger)

    def _come_to_dates(self, trigger: Trigger, on: OnDate) -> int:
        now, since = self._clock.now(), self._since(trigger)
        if since is None or now < since + _LOOKS_AT_USERS:
            return 0
        features = [on.date] + ([self._zones.feature] if self._zones.feature else [])
        users, values = self._values(features)
        causes = causes_of_date(on, self._zones, users, values, since, now)
        return self._fire_all(trigger, causes, now)

    def _call(self, trigger: Trigger, on: OnSchedule) -> int:
        now, since = self._clock.now(), self._since(trigger)
        own = on.zone == EACH_USERS_OWN and self._zones.feature is not None
        if since is None or now < since + (_LOOKS_AT_USERS if own else _LOOKS_AT_CALENDARS):
            return 0
        if not own and not calls(on, self._zones, since, now):
            self._database.write(lambda connection: repository.follow(connection, trigger.spec.id, now))
            return 0
        users = sorted(self._members(trigger.spec.audience or ""))
        zones: Sequence[Any] = []
        if own and self._zones.feature is not None:
            everybody, values = self._values([self._zones.feature])
            zone_of = dict(zip(everybody, values[self._zones.feature], strict=True))
            zones = [zone_of.get(user) for user in users]
        return self._fire_all(trigger, calls_of(on, self._zones, users, zones, since, now), now)

    def _since(self, trigger: Trigger) -> datetime | None:
        """Return up to when a trigger was followed; a new one is followed from now on."""
        with self._database.read() as connection:
            since = repository.through(connection, trigger.spec.id)
        if since is None:
            now = self._clock.now()
            self._database.write(lambda connection: repository.follow(connection, trigger.spec.id, now))
        return since

    def _fire_all(self, trigger: Trigger, causes: Sequence[Cause], now: datetime) -> int:
        """Fire in turns, then note how far this trigger was followed: what is repeated fires once."""
        fired = self._fire_in_turns(trigger, causes)
        self._database.write(lambda connection: repository.follow(connection, trigger.spec.id, now))
        return fired

    def _fire_in_turns(self, trigger: Trigger, causes: Sequence[Cause]) -> int:
        work = partial(self._fire, trigger=trigger)
        return self._firing.write(self._database, causes, work, rows_each=_ROWS_OF_CAUSE)

    def _fire(
        self, connection: Connection, causes: Sequence[Cause], trigger: Trigger, *, by: str = ""
    ) -> int:
        inside = self._inside([cause.user_id for cause in causes])
        return fire(connection, trigger, causes, inside, self._clock.now(), by=by)
