"""Hands a block's decisions to the writer, in pieces that fit into a turn of the background."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from audiences.identity.people import People
from decision.answers import DecideAnswer, DecideRequest, fingerprint_of
from decision.errors import KeyReused
from decision.recording import DECISION_ROWS, Key, Recorder
from decision.recording_together import MadeTogether, RecorderTogether
from decision.together import Ask, Together
from playbooks.matching import Snapshot
from storage.engine import Database
from storage.errors import NextplayError
from storage.writer import TURN_ROWS, Lane, Work

# What is told of each decision: its answer, or where nobody else is to suffer for it, why there is none.
T = TypeVar("T", DecideAnswer, DecideAnswer | KeyReused)

# Decisions of one transaction.
TOGETHER = TURN_ROWS // DECISION_ROWS


@dataclass(frozen=True, slots=True)
class DecidingTogether:
    """Some users whose decisions become durable together; `earlier` are answers of then, by place.

    `budgets` says whether decisions looked at how full budgets are: who decides next should wait for them.
    """

    users: Sequence[str]
    earlier: Mapping[int, DecideAnswer]
    future: Future[list[DecideAnswer]] | None
    budgets: bool = False

    def result(self) -> list[DecideAnswer]:
        """Wait until they are durable; return the answer for each user."""
        fresh = iter(() if self.future is None else self.future.result())
        return [
            self.earlier[place] if place in self.earlier else next(fresh) for place in range(len(self.users))
        ]


class Submitting:
    """Decides for blocks of users and gives what is under way. Thread-safe."""

    def __init__(
        self,
        database: Database,
        people: People,
        together: Together,
        recorder: Recorder,
        recording: RecorderTogether,
    ) -> None:
        self._database, self._people, self._together = database, people, together
        self._recorder, self._recording = recorder, recording

    def submit(
        self, snapshot: Snapshot, users: Sequence[str], placement: str, keys: Sequence[str] | None
    ) -> list[DecidingTogether]:
        """Decide for users; see `Decider.decide_many`."""
        asked = None
        if keys is not None:
            prints = [fingerprint_of(DecideRequest(placement=placement, user_id=user)) for user in users]
            asked = [Key(key, fingerprint) for key, fingerprint in zip(keys, prints, strict=True)]
        under_way: list[DecidingTogether] = []
        for run in self._without_repeats(users):
            for one in under_way:
                # Whoever comes again is to be decided for by what was taken before.
                one.result()
            own = None if asked is None else asked[run]
            under_way += self._submit(snapshot, users[run], placement, own)
        return under_way

    def _submit(
        self, snapshot: Snapshot, users: Sequence[str], placement: str, keys: Sequence[Key] | None
    ) -> list[DecidingTogether]:
        earlier: Mapping[int, DecideAnswer] = {}
        if keys is not None:
            with self._database.read() as connection:
                earlier = self._recording.earlier(connection, keys)
        fresh = [place for place in range(len(users)) if place not in earlier]
        if not fresh:
            return [DecidingTogether(users, earlier, None)]
        asks = [
            Ask(self._people.canonical(users[place]), None if keys is None else keys[place].name)
            for place in fresh
        ]
        made = self._together.make(snapshot, asks, placement)
        under_way = []
        for start in range(0, len(fresh), TOGETHER):
            places = fresh[start : start + TOGETHER]
            part = made.part(start, start + TOGETHER)
            own = None if keys is None else [keys[place] for place in places]
            # Those who were answered before are told of with the users around them.
            begin = 0 if start == 0 else places[0]
            end = fresh[start + TOGETHER] if start + TOGETHER < len(fresh) else len(users)
            future = self._write(part, partial(self._recording.record, made=part, keys=own), Lane.BACKGROUND)
            told = {place - begin: earlier[place] for place in range(begin, end) if place in earlier}
            under_way.append(DecidingTogether(users[begin:end], told, future, made.budgets))
        return under_way

    def submit_each(
        self, snapshot: Snapshot, asks: Sequence[Ask], keys: Sequence[Key | None], placement: str
    ) -> Future[list[DecideAnswer | KeyReused]]:
        """Decide for users who wait for their answers; see `Decider.submit_each`."""
        made = self._together.make(snapshot, asks, placement)
        return self._write(made, partial(self._recording.record_each, made=made, keys=keys), Lane.DECISION)

    def _write(self, part: MadeTogether, record: Work[list[T]], lane: Lane) -> Future[list[T]]:
        rows = DECISION_ROWS * len(part.ones)
        try:
            future = self._database.writer.submit(record, rows=rows, lane=lane)
        except NextplayError:
            part.drop()
            self._together.let_go(part)
            raise
        future.add_done_callback(partial(self._settle, part))
        return future

    def _settle(self, part: MadeTogether, done: Future[list[T]]) -> None:
        self._together.let_go(part)
        if done.exception() is not None:
            return
        answers = done.result()
        part.settle(answers)
        told = [one for one in answers if not isinstance(one, KeyReused)]
        for policy in {one.policy for one in told if one.fallback is None}:
            self._recorder.note(policy)

    def _without_repeats(self, users: Sequence[str]) -> Iterator[slice]:
        """Yield runs of users in which nobody is twice: what one decision takes the next is to see."""
        begin, seen = 0, set[str]()
        for place, user in enumerate(users):
            person = self._people.canonical(user)
            if person in seen:
                yield slice(begin, place)
                begin, seen = place, set()
            seen.add(person)
        if begin < len(users):
            yield slice(begin, len(users))
