"""A check of the gate: whoever gets a message did not opt out, and nothing holds it, as things stand now.

Transactional messages go whatever the user says of others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from audiences.addresses import AddressKind
from audiences.consent import repository as consent_repository
from audiences.consent.models import Channel, Consent, ConsentState, Reason, about
from audiences.consent.service import Consents
from audiences.consent.standing import allowed, pacing, standing
from audiences.errors import AddressUnfit
from audiences.identity.people import People
from audiences.identity.repository.names import held_by
from decision.gate_playbooks import Playbooks
from delivery.channels.webhook import WEBHOOK
from delivery.gate import Send
from delivery.models import Enrolment
from delivery.preferences.pace import sent_lately
from delivery.receipts.way import ADDRESSES
from playbooks.constraints.binding import Terms
from playbooks.constraints.scoping import ALL, Arms
from playbooks.windows import Ruling, Skip
from storage import ledger

# The user denied this purpose, or any, on this channel, or any.
OPTED_OUT = "opted_out"
# The user wants no more of this playbook's messages.
NO_MORE = "no_more_of_this"
# The user wants fewer of this purpose on this channel, and got as many as that.
LESS = "less_of_this"
# An address of the user is on the suppression list.
_SUPPRESSED = "suppressed."


class PermissionCheck:
    """Looks at words of users, at the suppression list, and at constraints by consent and by events."""

    def __init__(
        self,
        playbooks: Playbooks,
        terms: Callable[[Connection, Enrolment, str], Terms | None],
        people: People,
        consents: Consents,
        ways: Mapping[str, Channel],
    ) -> None:
        """Wire the check.

        Args:
            terms: gives those that a run's version is under now, on a channel.
            ways: on which users agree to be reached, by channel; of others `any` counts.
        """
        self._ways = ways
        self._playbooks, self._terms, self._people = playbooks, terms, people
        self._addresses = consents.addresses

    def rule(self, connection: Connection, sends: Sequence[Send], now: datetime) -> Sequence[Ruling]:
        """See `decision.gate.Check`."""
        purposes = [self._purpose(connection, send) for send in sends]
        bound = [send for send, purpose in zip(sends, purposes, strict=True) if purpose != "transactional"]
        persons = {send.enrolment.user_id: self._people.members(send.enrolment.user_id) for send in bound}
        profiles = sorted({one for members in persons.values() for one in members})
        words = _by_profile(consent_repository.of_users(connection, profiles) if profiles else ())
        listed = self._listed(connection, bound, persons)
        stopped: list[Ruling] = []
        going: Counter[tuple[str, Channel]] = Counter()
        for send, purpose in zip(sends, purposes, strict=True):
            user = send.enrolment.user_id
            if user not in persons or purpose == "transactional":
                stopped.append(None)
                continue
            said = [word for profile in persons[user] for word in words.get(profile, ())]
            rule = said_no(said, purpose, send.enrolment.playbook, self._way(send.channel))
            rule = rule or listed.get((user, send.channel))
            rule = rule or self._constrained(connection, send, said, persons[user], now)
            rule = rule or self._enough(connection, send, purpose, said, persons[user], now, going)
            stopped.append(None if rule is None else Skip(rule, elsewhere=_of_channel(rule)))
        return stopped

    def _purpose(self, connection: Connection, send: Send) -> str:
        playbook = self._playbooks.of(connection, send.enrolment)
        if send.channel == WEBHOOK:
            # It tells another system, not the user.
            return "transactional"
        return "promotional" if playbook is None else playbook.document.purpose

    def _enough(
        self,
        connection: Connection,
        send: Send,
        purpose: str,
        said: Sequence[Consent],
        profiles: Sequence[str],
        now: datetime,
        going: Counter[tuple[str, Channel]],
    ) -> str | None:
        """Say whether a user who wants fewer has got so many; `going`: those that this check lets through."""
        pace = pacing(said, purpose, self._way(send.channel))
        if pace is None:
            return None
        most, way = pace
        before = sent_lately(
            connection, profiles, purpose, way, now, ways=self._way, playbooks=self._playbooks.of
        )
        whose = (f"{profiles[0]} {purpose}", way)
        if before + going[whose] >= most:
            return LESS
        going[whose] += 1
        return None

    def _constrained(
        self,
        connection: Connection,
        send: Send,
        said: Sequence[Consent],
        profiles: Sequence[str],
        now: datetime,
    ) -> str | None:
        terms = self._terms(connection, send.enrolment, send.channel)
        if terms is None:
            return None
        arm = send.enrolment.arm.id
        for need in terms.agreements:
            if _about(need.arms, arm) and not allowed(said, need.purpose, need.channel):
                return need.rule
        names = _events(terms, arm)
        return (
            _by_events(terms, arm, ledger.latest_events(connection, profiles, names), now) if names else None
        )

    def _listed(
        self, connection: Connection, sends: Sequence[Send], persons: Mapping[str, Sequence[str]]
    ) -> dict[tuple[str, str], str]:
        """Return by which rule the suppression list stops messages, by user and channel."""
        kinds = {
            send.channel: kind
            for send in sends
            if (kind := ADDRESSES.get(self._way(send.channel))) is not None
        }
        if not kinds:
            return {}
        hashes: dict[str, dict[AddressKind, set[str]]] = {}
        for one in held_by(connection, sorted({one for members in persons.values() for one in members})):
            if one.identity.kind in set(AddressKind):
                kind = AddressKind(one.identity.kind)
                hashes.setdefault(one.profile, {}).setdefault(kind, set()).update(
                    self._hash(kind, one.identity.value)
                )
        every = sorted(
            {value for kinds_of in hashes.values() for some in kinds_of.values() for value in some}
        )
        reasons = consent_repository.reasons(connection, every) if every else {}
        found: dict[tuple[str, str], str] = {}
        for send in sends if reasons else ():
            kind = kinds.get(send.channel)
            if kind is not None:
                user = send.enrolment.user_id
                mine = {one for profile in persons[user] for one in hashes.get(profile, {}).get(kind, ())}
                if (rule := _suppressed(mine, reasons)) is not None:
                    found[user, send.channel] = rule
        return found

    def _way(self, channel: str) -> Channel:
        return self._ways.get(channel, Channel.ANY)

    def _hash(self, kind: AddressKind, address: str) -> Collection[str]:
        try:
            return (self._addresses.of(kind, address),)
        except AddressUnfit:
            # It is on no list, for nobody could put it there.
            return ()


def _by_profile(words: Sequence[Consent]) -> dict[str, list[Consent]]:
    found: dict[str, list[Consent]] = {}
    for word in words:
        found.setdefault(word.user_id, []).append(word)
    return found


def said_no(said: Sequence[Consent], purpose: str, playbook: str, way: Channel) -> str | None:
    """Return the rule by which a user's words stop messages of a playbook on a way."""
    if _denied(said, purpose, way):
        return OPTED_OUT
    own = [word for word in said if word.purpose == about(playbook)]
    return NO_MORE if own and _denied(own, about(playbook), way) else None


def _of_channel(rule: str) -> bool:
    """Whether a rule is about the channel that was chosen, and not about the message."""
    return rule in (OPTED_OUT, LESS) or rule.startswith(_SUPPRESSED)


def _denied(said: Sequence[Consent], purpose: str, way: Channel) -> bool:
    deciding = standing(said, purpose, way)
    return deciding is not None and deciding.state is ConsentState.DENIED


def _suppressed(mine: Collection[str], reasons: Mapping[str, Sequence[Reason]]) -> str | None:
    """Return the rule: a complaint about any address counts for all, a bounce only for that address."""
    said = {reason for one in mine for reason in reasons.get(one, ())}
    for reason in (Reason.COMPLAINED, Reason.DO_NOT_CONTACT):
        if reason in said:
            return f"{_SUPPRESSED}{reason.value}"
    bounced = mine and all(Reason.BOUNCED in reasons.get(one, ()) for one in mine)
    return f"{_SUPPRESSED}{Reason.BOUNCED.value}" if bounced else None


def _about(arms: Arms, arm: str) -> bool:
    return arms is ALL or arm in arms


def _events(terms: Terms, arm: str) -> list[str]:
    names = {name for one in terms.holds if _about(one.arms, arm) for name in (one.opened_by, one.closed_by)}
    return sorted(names | {one.event for one in terms.after if _about(one.arms, arm)})


def _by_events(terms: Terms, arm: str, events: Mapping[str, datetime], now: datetime) -> str | None:
    for hold in terms.holds:
        opened, closed = events.get(hold.opened_by), events.get(hold.closed_by)
        if _about(hold.arms, arm) and opened is not None and (closed is None or opened > closed):
            return hold.rule
    for rest in terms.after:
        happened = events.get(rest.event)
        if _about(rest.arms, arm) and happened is not None and happened > now - rest.lasts:
            return rest.rule
    return None
