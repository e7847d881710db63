"""What identity is about: profiles, the identities they hold, joins of two profiles, persons."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec
from pydantic import BaseModel, ConfigDict, Field

# A profile whose id begins so is of somebody whose user id is not known yet.
ANONYMOUS = "anonymous:"
# A profile of one identity, for messages that name nothing else.
CARRIER = "anonymous::id:"

USER_ID = "user_id"
ANONYMOUS_ID = "anonymous_id"
# Kinds that tell devices and browsers apart, which change hands.
DEVICES = frozenset(
    {
        "device",
        "device_token",
        "ios_idfa",
        "android_idfa",
        "ios_push_token",
        "android_push_token",
        "ga_client_id",
    }
)


class KindRule(BaseModel):
    """What an identity of a kind may do.

    `joins`: verified and equal in two profiles it makes them one person. An identity that more than
    `max_users` user ids or `max_profiles` profiles hold is shared: it joins nobody.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    joins: bool = True
    max_users: int = Field(default=3, ge=1, le=1_000)
    max_profiles: int = Field(default=25, ge=1, le=1_000)


_ANY_KIND = KindRule()
_ANY_DEVICE = KindRule(joins=False)


def rule_of(kind: str, rules: Mapping[str, KindRule]) -> KindRule:
    """Return the rule of a kind: as set, or the default. Devices only help to find candidates."""
    return rules.get(kind) or (_ANY_DEVICE if kind in DEVICES else _ANY_KIND)


class Identity(msgspec.Struct, frozen=True, order=True):
    """A way to recognise somebody; `value` is normalised (`audiences.identity.ids`)."""

    kind: str
    value: str


class Held(msgspec.Struct, frozen=True):
    """That a profile holds an identity since its first message with it."""

    profile: str
    identity: Identity
    verified: bool
    first_seen: datetime
    source: str = ""


class Cause(StrEnum):
    """Why two profiles were joined."""

    # One message named both an anonymous id and a user id.
    ANONYMOUS = "anonymous"
    # Both hold the same verified identity.
    IDENTITY = "identity"
    # A message of the type alias said so.
    ALIAS = "alias"
    # An operator said so.
    MERGE = "merge"


class Join(msgspec.Struct, frozen=True):
    """That two profiles are one person, and why.

    For a command (alias, merge) `into` gives the person its id. `evidence` is the identity that is equal in
    both, or the anonymous id; `by` who said it: a source, or an operator's key.
    """

    id: str
    profile: str
    into: str
    cause: Cause
    joined_at: datetime
    evidence: Identity | None = None
    message_id: str | None = None
    by: str = ""
    why: str = ""

    @property
    def is_command(self) -> bool:
        return self.cause in (Cause.ALIAS, Cause.MERGE)

    @property
    def is_weak(self) -> bool:
        """Whether it only says whose a device was: then it never joins two users with user ids."""
        by_device = self.evidence is not None and self.evidence.kind in DEVICES
        return by_device or is_device_profile(self.profile) or is_device_profile(self.into)

    def other(self, profile: str) -> str:
        """Return the end that is not `profile`."""
        return self.into if profile == self.profile else self.profile


class Undone(msgspec.Struct, frozen=True):
    """That a join was taken back: when, by whom, why."""

    at: datetime
    by: str
    why: str


class Generation(msgspec.Struct, frozen=True):
    """The profile of one of the users of an anonymous id; of several the one chosen last is current."""

    anonymous_id: str
    number: int
    profile: str
    chosen: int = 0


class Person(msgspec.Struct, frozen=True):
    """A canonical user id with all profiles joined under it, itself among them.

    `revision` grows each time that the person's profiles change; 0 if they never did.
    """

    canonical: str
    members: tuple[str, ...]
    revision: int = 0


def is_known(profile: str) -> bool:
    """Whether a profile is of somebody whom senders know by a user id."""
    return not profile.startswith(ANONYMOUS)


def is_device_profile(profile: str) -> bool:
    """Whether a profile is of an anonymous id."""
    return profile.startswith(ANONYMOUS) and not profile.startswith(CARRIER)


def profile_of(anonymous_id: str, number: int) -> str:
    """Return the profile id of the `number`th user of an anonymous id, from 1."""
    # An anonymous id does not begin with a colon (`check_ids`), so the two forms never meet.
    return f"{ANONYMOUS}{anonymous_id}" if number == 1 else f"{ANONYMOUS}:{number}:{anonymous_id}"


class JoinBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of the fact that two profiles were joined, or that this was taken back or not done."""

    join: str
    profile: str
    into: str
    cause: str
    evidence: Identity | None = None
    message_id: str | None = None
    by: str = ""
    why: str = ""
