"""Whose a message is, and which profiles it makes one person: pure, over what is known of those it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from audiences.errors import EventRefused
from audiences.events import Event
from audiences.identity.graph import Graph
from audiences.identity.models import (
    ANONYMOUS_ID,
    CARRIER,
    Cause,
    Generation,
    Held,
    Identity,
    Join,
    JoinBody,
    KindRule,
    is_device_profile,
    is_known,
    profile_of,
    rule_of,
)
from storage.ids import new_id

# Labels of the facts that tell of identity.
JOINED = "joined"
UNDONE = "undone"
NOT_JOINED = "not_joined"
SHARED = "shared"

TOO_MANY = "too many hold it"
TAKEN_BACK = "a join by it was taken back"


@dataclass(slots=True)
class State:
    """What is known of the profiles, anonymous ids and identities that some messages name.

    `graph` has all profiles that are joined with any of them; `undone` the two ends and the evidence of joins
    that were taken back.
    """

    graph: Graph
    generations: dict[str, list[Generation]] = field(default_factory=dict)
    holders: dict[Identity, dict[str, Held]] = field(default_factory=dict)
    shared: set[Identity] = field(default_factory=set)
    undone: set[tuple[frozenset[str], Identity | None]] = field(default_factory=set)
    erased: frozenset[str] = frozenset()


@dataclass(slots=True)
class Changes:
    """What messages changed; `notes` are facts beside those of joins: label, body, the message's moment."""

    profiles: dict[str, datetime] = field(default_factory=dict)
    held: dict[tuple[Identity, str], Held] = field(default_factory=dict)
    chosen: dict[tuple[str, int], Generation] = field(default_factory=dict)
    joins: list[Join] = field(default_factory=list)
    undone: list[tuple[Join, str]] = field(default_factory=list)
    shared: dict[Identity, str] = field(default_factory=dict)
    notes: list[tuple[str, JoinBody, datetime]] = field(default_factory=list)


class Resolution:
    """Takes messages one after the other, in the order in which they are recorded."""

    def __init__(self, state: State, rules: Mapping[str, KindRule], next_choice: int) -> None:
        """`next_choice` is greater than any `chosen` of a generation that is kept."""
        self._state = state
        self._graph = state.graph
        self._rules = rules
        self.next_choice = next_choice
        self.changes = Changes()

    def take(self, event: Event, identities: Mapping[Identity, bool]) -> str:
        """Return the profile that a message belongs to, after joining what it says is one person.

        Args:
            identities: those that the message names, and whether its sender vouches for each.
        """
        if event.type == "alias":
            return self._alias(event)
        profile = event.user_id
        if profile:
            self._know(profile, event)
        if event.anonymous_id:
            device = self._device(event, event.anonymous_id, profile or self._user_by(identities))
            profile = profile or device
        if not profile:
            profile = self._carrier(event, identities)
        for identity, verified in identities.items():
            self._hold(profile, identity, verified, event)
        return profile

    def _know(self, profile: str, event: Event) -> None:
        if profile not in self._graph.first_seen:
            self._graph.know(profile, event.occurred_at)
            self.changes.profiles[profile] = event.occurred_at

    def _device(
        self, event: Event, anonymous_id: str, user: str | None, cause: Cause = Cause.ANONYMOUS
    ) -> str:
        """Return the current profile of an anonymous id, after giving it to `user` if there is one."""
        all_ = self._state.generations.setdefault(anonymous_id, [])
        if not all_:
            self._choose(event, Generation(anonymous_id, 1, profile_of(anonymous_id, 1)))
        current = max(all_, key=lambda one: one.chosen)
        if user is None or self._graph.same(current.profile, user):
            return current.profile
        of_user = [one for one in all_ if self._graph.same(one.profile, user)]
        if of_user or self._graph.users(current.profile):
            # Another user's: from now on the device is this one's, what was done before stays the other's.
            number = of_user[0].number if of_user else len(all_) + 1
            current = Generation(anonymous_id, number, profile_of(anonymous_id, number), self.next_choice)
            self.next_choice += 1
            self._choose(event, current)
        if event.user_id:
            self._join(event, current.profile, user, cause, Identity(ANONYMOUS_ID, anonymous_id))
        return current.profile

    def _choose(self, event: Event, chosen: Generation) -> None:
        self._know(chosen.profile, event)
        all_ = self._state.generations[chosen.anonymous_id]
        all_[:] = [one for one in all_ if one.number != chosen.number] + [chosen]
        self.changes.chosen[chosen.anonymous_id, chosen.number] = chosen

    def _user_by(self, identities: Mapping[Identity, bool]) -> str | None:
        """Return the user whom verified identities of a message belong to, if one does."""
        for identity, verified in identities.items():
            if not verified or not self._may_join(identity):
                continue
            for held in self._verified(identity):
                users = self._graph.users(held.profile)
                if users:
                    return users[0]
        return None

    def _carrier(self, event: Event, identities: Mapping[Identity, bool]) -> str:
        """Return the profile of messages that name only an identity: that of the first one they name."""
        for identity in identities:
            for profile in self._state.holders.get(identity, {}):
                if profile.startswith(CARRIER):
                    return profile
        if not identities:
            raise EventRefused(
                "nobody is named: send `userId` or `anonymousId`, or a whole e-mail address or phone number"
            )
        made = CARRIER + new_id(event.received_at)
        self._know(made, event)
        return made

    def _alias(self, event: Event) -> str:
        user, previous = event.user_id, event.previous_id or ""
        self._know(user, event)
        if previous == user:
            self._refuse(event, previous, user, "an alias of itself")
        elif {previous, user} & self._state.erased:
            self._refuse(event, previous, user, "the user is being erased")
        elif previous not in self._graph.first_seen and previous in self._state.generations:
            self._device(event, previous, user, Cause.ALIAS)
        elif is_device_profile(previous):
            self._refuse(event, previous, user, "no such profile: name the anonymous id itself")
        else:
            self._know(previous, event)
            self._command(event, previous, user)
        return user

    def _command(self, event: Event, previous: str, user: str) -> None:
        if self._graph.leads(user, previous):
            self._refuse(event, previous, user, f"{user!r} was made the same as {previous!r} before")
        elif not self._graph.leads(previous, user):
            self._join(event, previous, user, Cause.ALIAS, None)

    def _hold(self, profile: str, identity: Identity, verified: bool, event: Event) -> None:
        holders = self._state.holders.setdefault(identity, {})
        before = holders.get(profile)
        if before is not None and (before.verified or not verified):
            return
        first_seen = before.first_seen if before is not None else event.occurred_at
        held = Held(profile, identity, verified, first_seen, event.source)
        holders[profile] = self.changes.held[identity, profile] = held
        if not verified or not self._may_join(identity):
            return
        rule, all_ = rule_of(identity.kind, self._rules), self._verified(identity)
        if len(all_) > rule.max_profiles or sum(is_known(one.profile) for one in all_) > rule.max_users:
            self._share(identity, event)
            return
        for other in self._nearest(profile, all_):
            self._join(event, profile, other, Cause.IDENTITY, identity)

    def _nearest(self, profile: str, holders: list[Held]) -> list[str]:
        """Return, of each person who holds an identity, the profile to be joined with: rather no device."""
        chosen: dict[frozenset[str], str] = {}
        for one in sorted(holders, key=lambda held: is_device_profile(held.profile)):
            if one.profile != profile:
                chosen.setdefault(self._graph.person(one.profile), one.profile)
        return list(chosen.values())

    def _share(self, identity: Identity, event: Event) -> None:
        """Let an identity join nobody any more, and take apart whom it joined."""
        self._state.shared.add(identity)
        self.changes.shared[identity] = TOO_MANY
        for join in self._graph.by(identity):
            self._graph.remove(join.id)
            self.changes.undone.append((join, TOO_MANY))
        body = JoinBody("", "", "", Cause.IDENTITY, identity, event.event_id, event.source, TOO_MANY)
        self.changes.notes.append((SHARED, body, event.received_at))

    def _join(self, event: Event, profile: str, into: str, cause: Cause, evidence: Identity | None) -> None:
        if (frozenset((profile, into)), evidence) in self._state.undone:
            return
        join = Join(
            new_id(event.received_at),
            profile,
            into,
            cause,
            event.received_at,
            evidence,
            event.event_id,
            event.source,
        )
        if self._graph.holds_back(join):
            return
        self._graph.add(join)
        self.changes.joins.append(join)

    def _refuse(self, event: Event, previous: str, user: str, why: str) -> None:
        body = JoinBody("", previous, user, Cause.ALIAS, None, event.event_id, event.source, why)
        self.changes.notes.append((NOT_JOINED, body, event.received_at))

    def _may_join(self, identity: Identity) -> bool:
        return rule_of(identity.kind, self._rules).joins and identity not in self._state.shared

    def _verified(self, identity: Identity) -> list[Held]:
        found = [one for one in self._state.holders.get(identity, {}).values() if one.verified]
        return sorted(found, key=lambda held: (held.first_seen, held.profile))
