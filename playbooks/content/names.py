"""What templates may speak of: the user, the offer, the variant, and the event that set the playbook off.

    user_id            the canonical id
    user.<feature>     what is computed of the user
    trait.<name>       what the user, or somebody else, said of the user
    account.<name>     features of the user's account
    trigger.<property> the event that the playbook's trigger is on
    coupon.<name>      code and expires_at of the coupon that was issued in this run
    links.preferences  where the user says what may be sent, where the service has a public address
    offer.<name>       id, name, attributes, and what the offer gives: value, percent, minimum_spend, …
    arm.<name>         id, playbook, and the attributes that rules know as `arm.<name>`

What is not known of a user is not there: a condition takes it for false, `default` fills it, and to write it
fails the message of that user.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from playbooks.models import Arm
from playbooks.offers import Offer, terms_of
from playbooks.offers.terms import Terms

USER_ID = "user_id"
OFFER, ARM, TRIGGER, COUPON, LINKS = "offer", "arm", "trigger", "coupon", "links"
# The roots that are about the user, each with fields of `Recipient` and `Vocabulary`.
OF_USER = ("user", "trait", "account", TRIGGER, COUPON, LINKS)
ROOTS = (USER_ID, *OF_USER, OFFER, ARM)

_OF_OFFER = ("id", "name")
_OF_ARM = ("id", "playbook", "channel")
_LINKS = {"preferences": "https://nextplay.invalid/p/sample"}
_COUPON = {"code": "SAMPLE-CODE", "expires_at": datetime(2026, 1, 31, 12, tzinfo=UTC)}


class Recipient(msgspec.Struct, frozen=True):
    """Somebody a message is for, with what is known: values by name, without those that are not known."""

    user_id: str
    language: str | None = None
    user: Mapping[str, Any] = {}
    trait: Mapping[str, Any] = {}
    account: Mapping[str, Any] = {}
    trigger: Mapping[str, Any] = {}
    coupon: Mapping[str, Any] = {}
    links: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Vocabulary:
    """Every name there is of the user and of events, each with an example of its value."""

    user: Mapping[str, Any] = field(default_factory=dict)
    trait: Mapping[str, Any] = field(default_factory=dict)
    account: Mapping[str, Any] = field(default_factory=dict)
    trigger: Mapping[str, Any] = field(default_factory=dict)
    coupon: Mapping[str, Any] = field(default_factory=_COUPON.copy)
    links: Mapping[str, Any] = field(default_factory=_LINKS.copy)


def sample(vocabulary: Vocabulary, language: str | None = None, user_id: str = "sample") -> Recipient:
    """Return somebody who does not exist, of whom everything is known."""
    known = {root: getattr(vocabulary, root) for root in OF_USER}
    return Recipient(user_id=user_id, language=language, **known)


def of_offer(offer: Offer) -> dict[str, Any]:
    """Return what templates see as `offer`; an attribute goes before a term of its name."""
    return {**msgspec.to_builtins(terms_of(offer)), **offer.attributes, "id": offer.id, "name": offer.name}


def of_arm(arm: Arm) -> dict[str, Any]:
    """Return what templates see as `arm`."""
    return {**arm.attributes, "id": arm.id, "playbook": arm.playbook, "channel": arm.channel}


def names_of(offer: Offer, arm: Arm, recipient: Recipient) -> dict[str, Any]:
    """Return everything that a template sees."""
    known = {root: _known(getattr(recipient, root)) for root in OF_USER}
    return {USER_ID: recipient.user_id, **known, OFFER: of_offer(offer), ARM: of_arm(arm)}


def known_of_offers(attributes: Mapping[str, Any]) -> frozenset[str]:
    """Return the names that `offer` may have when offers have these attributes."""
    return frozenset((*_OF_OFFER, *Terms.__struct_fields__, *attributes))


def known_of_arms(attributes: Mapping[str, Any]) -> frozenset[str]:
    """Return the names that `arm` may have when arms have these attributes."""
    return frozenset((*_OF_ARM, *attributes))


def _known(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
