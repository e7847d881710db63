"""What users say on their preference pages, and by one click in their mail program."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import Connection

from audiences.consent.models import (
    ANY,
    Channel,
    Consent,
    ConsentState,
    Wording,
    about,
    paced,
    wording,
)
from audiences.consent.service import Consents
from audiences.identity.people import People
from audiences.identity.repository.names import first_seen_of
from delivery import repository as runs
from delivery.errors import LinkExpired, PreferencesUnfit
from delivery.models import Enrolment, MessageFact, MessageState
from delivery.preferences.pace import halved, sent_lately
from delivery.preferences.told import Choice, Sent, by, choices, ended, pace_of, why
from delivery.receipts import repository as receipts_repository
from delivery.receipts.models import Told, What
from delivery.receipts.service import Receipts
from delivery.receipts.way import Ways
from playbooks.decision import Decision
from playbooks.library import PublishedPlaybook
from playbooks.suggesting import closest
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ledger import Fact, Kind
from storage.times import to_micros

PAGE: Final = "preference_page"
ONE_CLICK: Final = "one_click"
# What is shown of the past: messages of so many playbooks, no older than that.
_SHOWN = 10
_LOOKED_AT = 200
_LATELY = timedelta(days=90)
# Raised whenever the page says something else to users.
_VERSION = "2"

Playbooks = Callable[[Connection, Enrolment], PublishedPlaybook | None]


class Shown(msgspec.Struct, frozen=True):
    """What a page shows."""

    choices: Sequence[Choice]
    sent: Sequence[Sent]


class Ending(msgspec.Struct, frozen=True):
    """What a link in a message ends: messages of a purpose by a way."""

    user_id: str
    channel_name: str
    purpose: str
    channel: Channel


class UserPreferences:
    """What users want. Thread-safe; what is said holds from the commit on, also for what is queued."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        consents: Consents,
        people: People,
        receipts: Receipts,
        playbooks: Playbooks,
        ways: Ways,
        channels: Collection[Channel],
    ) -> None:
        """Wire it.

        Args:
            receipts: take in that somebody unsubscribed.
            playbooks: those of runs.
            ways: by which channels reach users.
            channels: the ways that there are, in the order in which they are shown.
        """
        self._database, self._clock, self._consents, self._people = database, clock, consents, people
        self._receipts, self._playbooks, self._ways, self._channels = receipts, playbooks, ways, channels

    def of(self, user_id: str) -> Shown:
        """Return what counts for a user now, and what was sent lately.

        Raises:
            LinkExpired: nothing is known of the user any more.
        """
        words, _ = self._consents.of(user_id)
        since = self._clock.now() - _LATELY
        with self._database.read() as connection:
            if not first_seen_of(connection, self._people.members(user_id)):
                # Erased since the link was made; what is said now would bring them back.
                raise LinkExpired("nothing is known of you any more, and nothing will be sent")
            facts = ledger.of_users(
                connection, self._people.members(user_id), kinds=[Kind.MESSAGE], limit=_LOOKED_AT
            )
            sent: dict[str, Sent] = {}
            for fact in facts:
                if fact.label != MessageState.SENT.value or fact.occurred_at < since or len(sent) == _SHOWN:
                    continue
                found = self._sent(connection, fact, words)
                if found is not None:
                    sent.setdefault(found.playbook, found)
        return Shown(choices(words, self._channels), list(sent.values()))

    def choose(self, user_id: str, wanted: Collection[tuple[str, Channel]]) -> int:
        """Record what a user ticked; says of how many things that is another word than before.

        Raises:
            PreferencesUnfit: there is no such purpose or way.
            LinkExpired: nothing is known of the user any more.
        """
        now = self._clock.now()
        before = {(one.purpose, one.channel): one.wanted for one in self.of(user_id).choices}
        for one in wanted:
            if one not in before:
                told = f"{one[0]}:{one[1]}"
                raise PreferencesUnfit(f"nothing is called {told!r}{closest(told, _named(before))}")
        said = [
            _word(user_id, purpose, channel, (purpose, channel) in wanted, now)
            for (purpose, channel), was in before.items()
            if ((purpose, channel) in wanted) != was
        ]
        return sum(self._consents.say(said)) if said else 0

    def less(self, user_id: str, playbook: str, *, usual: bool = False) -> None:
        """Record that a user wants fewer messages such as one of a playbook, or as many as others again.

        Fewer of its purpose by its way: half as many in four weeks as there were (see `pace`).

        Raises:
            PreferencesUnfit: the user was sent nothing of it lately, or it can't be less.
            LinkExpired: nothing is known of the user any more.
        """
        sent, now = self._one(user_id, playbook), self._clock.now()
        if sent.transactional:
            raise PreferencesUnfit("these messages are about what you order, and always come")
        most = 0
        if not usual:
            with self._database.read() as connection:
                before = sent_lately(
                    connection,
                    self._people.members(user_id),
                    sent.purpose,
                    sent.channel,
                    now,
                    ways=self._consent,
                    playbooks=self._playbooks,
                )
            most = halved(before, sent.pace)
        word = _word(user_id, paced(sent.purpose, most), sent.channel, wanted=True, now=now)
        told = f"at most {most} {sent.purpose} messages by {by(sent.channel)} in four weeks"
        told = f"{sent.purpose} messages by {by(sent.channel)} as often as to others" if usual else told
        self._consents.say([msgspec.structs.replace(word, wording=wording(PAGE, _VERSION, told))])

    def end_playbook(self, user_id: str, playbook: str, *, again: bool = False) -> None:
        """Record that a user wants no more messages of a playbook, or wants them again.

        Raises: as `less`.
        """
        self._one(user_id, playbook)
        self._consents.say([_word(user_id, about(playbook), Channel.ANY, again, self._clock.now())])

    def _one(self, user_id: str, playbook: str) -> Sent:
        sent = {one.playbook: one for one in self.of(user_id).sent}
        if playbook not in sent:
            raise PreferencesUnfit(f"nothing of {playbook[:64]!r} was sent lately{closest(playbook, sent)}")
        return sent[playbook]

    def _consent(self, channel: str) -> Channel | None:
        way = self._ways(channel)
        return None if way is None else way.consent

    def ending(self, key: str) -> Ending:
        """Return what the link of a message ends.

        Raises:
            LinkExpired: nothing is known of the message any more.
        """
        with self._database.read() as connection:
            held = receipts_repository.held(connection, key)
            way = None if held is None else self._ways(held.queued.channel)
            if held is not None and way is not None:
                run = runs.enrolments_of(connection, [held.queued.enrolment_id]).get(held.queued.enrolment_id)
                if run is not None:
                    playbook = self._playbooks(connection, run)
                    purpose = "promotional" if playbook is None else playbook.document.purpose
                    # Those go whatever is said; who wants no more of them wants none of the others.
                    denied = ANY if purpose == "transactional" else purpose
                    return Ending(run.user_id, held.queued.channel, denied, way.consent)
        raise LinkExpired("nothing is known of this message any more: use the link of a newer one")

    def end(self, key: str) -> Ending:
        """End messages like one, as its link says. Raises LinkExpired."""
        ending, now = self.ending(key), self._clock.now()
        shown = f"Unsubscribe: no more {ending.purpose} messages by {by(ending.channel)}"
        word = Consent(
            ending.user_id,
            ending.purpose,
            ending.channel,
            ConsentState.DENIED,
            now,
            ONE_CLICK,
            wording(ONE_CLICK, _VERSION, shown),
        )
        self._consents.say([word])
        told = Told(f"{ONE_CLICK}:{key}:{to_micros(now)}", What.UNSUBSCRIBED, now, key)
        self._receipts.submit(ending.channel_name, [told]).result()
        return ending

    def _sent(self, connection: Connection, fact: Fact, words: Sequence[Consent]) -> Sent | None:
        body: MessageFact = fact.decode(MessageFact)
        way = self._ways(body.channel)
        run = runs.enrolments_of(connection, [body.enrolment]).get(body.enrolment)
        playbook = None if run is None else self._playbooks(connection, run)
        if playbook is None or way is None:
            return None
        record = ledger.get(connection, Kind.DECISION, body.decision)
        decision: Decision | None = None if record is None else record.decode(Decision)
        document = playbook.document
        return Sent(
            body.playbook,
            document.name,
            fact.occurred_at,
            way.consent,
            why(document, decision, pace := pace_of(words, document.purpose, way.consent)),
            ended(words, body.playbook),
            document.purpose,
            pace,
        )


def _word(user_id: str, purpose: str, channel: Channel, wanted: bool, now: datetime) -> Consent:
    state = ConsentState.GRANTED if wanted else ConsentState.DENIED
    return Consent(user_id, purpose, channel, state, now, PAGE, _wording(purpose, channel))


def _wording(purpose: str, channel: Channel) -> Wording:
    return wording(PAGE, _VERSION, f"{purpose} messages by {by(channel)}")


def _named(choices_: Collection[tuple[str, Channel]]) -> list[str]:
    return [f"{purpose}:{channel}" for purpose, channel in choices_]
