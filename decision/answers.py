"""What a backend asks of `decide`, and what it is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Annotated

import msgspec
from msgspec import Meta

from decision.inline import MessageShown
from learning.context import MAX_TEXT
from learning.explaining import Explanation
from playbooks.decision import Decision
from playbooks.library import Library, PublishedPlaybook
from playbooks.models import DO_NOTHING, Arm
from playbooks.offers import Terms

# Reasons why no policy was asked and the placement's fallback was answered.
UNKNOWN_USER = "unknown_user"
SHARED_IDENTITY = "shared_identity"
FEATURES_MISSING = "features_missing"
FEATURES_STALE = "features_stale"
FEATURES_UNREACHABLE = "features_unreachable"
POLICY_BROKEN = "policy_broken"
DEADLINE = "deadline"


ContextName = Annotated[str, Meta(max_length=64)]
ContextText = Annotated[str, Meta(max_length=MAX_TEXT)]
ContextValue = float | bool | ContextText | None
Milliseconds = Annotated[int, Meta(ge=0, le=60_000)]


class AskedIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An identity by which a backend knows a user: an e-mail address, a phone number, an anonymous id."""

    kind: str
    value: str


class DecideRequest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """What a backend asks; the user is named by `user_id` (of any of their profiles) or by `identity`.

    `context` is told of the moment by the names and kinds that the policy gives. A `dry_run` leaves no trace:
    nothing is recorded, reserved or started. After `deadline_ms` milliseconds the answer is the fallback.
    """

    placement: str
    user_id: str = ""
    identity: AskedIdentity | None = None
    context: Mapping[ContextName, ContextValue] = {}
    dry_run: bool = False
    deadline_ms: Milliseconds | None = None
    explain: bool = False


def fingerprint_of(request: DecideRequest) -> str:
    """Return what tells whether two requests are the same."""
    return blake2b(msgspec.json.encode(request), digest_size=16).hexdigest()


class OfferShown(msgspec.Struct, frozen=True):
    """The offer of an answer, as the backend shows it, with what it is worth under which conditions."""

    id: str
    name: str
    attributes: Mapping[str, str]
    terms: Terms = Terms()


class DecideAnswer(msgspec.Struct, frozen=True):
    """What a backend gets. `playbook`, `offer` and `content` are null for "do nothing".

    `fallback` is why no policy was asked; the rest is then what the placement shows where none can be.
    """

    decision_id: str
    playbook: str | None
    variant: str
    offer: OfferShown | None
    content: str | None
    propensity: float
    policy: str
    suppressed: Mapping[str, Sequence[str]]
    fallback: str | None
    holdout: Sequence[str] = ()
    dry_run: bool = False
    explanation: Explanation | None = None
    message: MessageShown | None = None


def answer_of(
    decision: Decision,
    library: Library,
    arm: Arm | None,
    explanation: Explanation | None = None,
    message: MessageShown | None = None,
) -> DecideAnswer:
    """Return what a backend is told of a decision.

    Args:
        arm: the drawn one, None where nothing is done.
        message: its content, where the answer is shown at once.
    """
    offer = _shown(library.get(arm.playbook, decision.playbook_version or 0), arm) if arm else None
    return DecideAnswer(
        decision_id=decision.decision_id,
        playbook=arm.playbook if arm else None,
        variant=arm.id if arm else DO_NOTHING,
        offer=offer,
        content=arm.content if arm else None,
        propensity=decision.propensity,
        policy=decision.policy,
        suppressed=decision.suppressed,
        fallback=decision.fallback,
        holdout=decision.holdout,
        explanation=explanation,
        message=message if arm else None,
    )


def _shown(playbook: PublishedPlaybook, arm: Arm) -> OfferShown:
    offer = playbook.offers[arm.offer]
    return OfferShown(offer.id, offer.name, offer.attributes, playbook.terms[offer.id])
