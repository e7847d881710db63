"""What a placement shows where no policy can be asked: one arm of a playbook, the same for everybody; pure.

It is the house's own content. Neither audience nor rules, caps or priority are asked, for of the user nothing
may be known; and nothing is reserved, counted or begun, for what counts may be gone. So it is an arm that
costs nothing and uses up nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from playbooks.constraints.binding import Terms
from playbooks.constraints.documents import Cap, rule_of
from playbooks.content.expiry import End
from playbooks.content.filling import Contents
from playbooks.content.names import Recipient, names_of
from playbooks.controls.models import Controls
from playbooks.controls.models import rule_of as control_rule
from playbooks.decision import Decision
from playbooks.draws import draw_of
from playbooks.errors import ContentFailed
from playbooks.flow import Issue
from playbooks.library import Library, PublishedPlaybook
from playbooks.models import DO_NOTHING, Arm
from playbooks.suggesting import closest

# Arms that are listed of a playbook with many.
_LISTED = 8


@dataclass(frozen=True, slots=True)
class Fallback:
    """An arm that is shown where no policy can be asked; `ends` are when its content is over."""

    playbook: PublishedPlaybook
    arm: Arm
    ends: Sequence[End] = ()

    def stopped_by(self, user_id: str, controls: Controls, now: datetime) -> str | None:
        """Return the rule by which it is not to be shown now, None where it may be."""
        control = controls.of_decision(self.playbook.id, user_id) if controls else None
        if control is not None:
            return control_rule(control)
        return next((end.rule for end in self.ends if now >= end.at), None)


def playbook_of(name: str) -> str:
    """Return the playbook that a fallback's name, `playbook` or `playbook/variant`, speaks of."""
    return name.partition("/")[0]


def fallback_in(library: Library, name: str, placement: str) -> Fallback | str:
    """Return the fallback of a name as a library serves it, or why there is none."""
    playbook = playbook_of(name)
    live = next((one for one in library.playbooks if one.id == playbook and one.trial is None), None)
    if live is None:
        return f"the playbook {playbook!r} is not live"
    terms = library.rules.terms(live)
    arm = arm_for(name, placement, live, terms)
    if isinstance(arm, str):
        return f"the playbook {playbook!r} {arm}"
    return Fallback(live, arm, tuple(end for end in terms.ends if arm.id in end.arms))


def arm_for(name: str, placement: str, playbook: PublishedPlaybook, terms: Terms) -> Arm | str:
    """Return the arm that a name stands for, or why it can't be a placement's fallback: "has …", "is …"."""
    if playbook.document.placement != placement:
        return f"is for the placement {playbook.document.placement!r}"
    ids = [arm.id for arm in playbook.arms]
    if "/" not in name:
        if len(ids) != 1:
            if not ids:
                return "has no arms"
            listed = ", ".join(ids[:_LISTED]) + (", …" if len(ids) > _LISTED else "")
            return f"has {len(ids)} arms: name one of them, {listed}"
        name = ids[0]
    if name not in ids:
        return f"has no arm {name!r}{closest(name, ids)}"
    arm = playbook.arm(name)
    return _unfit(playbook, terms, arm) or arm


def _unfit(playbook: PublishedPlaybook, terms: Terms, arm: Arm) -> str:
    """Return why an arm can't be given without being counted, '' if it can."""
    offer, document = playbook.offers[arm.offer], playbook.document
    if offer.kind != "content_only":
        return (
            f"gives away {offer.id!r} ({offer.kind}) in {arm.id!r}, and a fallback is given without being "
            "counted: name an arm whose offer is content_only"
        )
    issues = next((name for name, state in document.flow.states.items() if isinstance(state, Issue)), None)
    if issues is not None:
        return f"issues a code (state {issues!r}), and a fallback begins no run: name another playbook"
    caps = {rule_of(one, document.id) for one in document.constraints if isinstance(one, Cap)}
    counted = [one.rule for one in terms.spends if one.takes(arm)]
    counted += [one.rule for one in terms.counted if one.rule in caps and one.is_about(arm)]
    if counted:
        return (
            f"has {arm.id!r} counted by {counted[0]}, and a fallback is given without being counted: name "
            "another arm, or exempt this one there"
        )
    return ""


def replay_fallback(decision: Decision) -> Decision:
    """Recompute a fallback from its record: one arm for certain, of the recorded playbook, or none."""
    arms = [one for one in decision.arms[:1] if playbook_of(one) == decision.playbook]
    none = not arms
    return msgspec.structs.replace(
        decision,
        arms=arms or [DO_NOTHING],
        playbook=None if none else decision.playbook,
        playbook_version=None if none else decision.playbook_version,
        scores=[],
        probabilities=[1.0],
        draw=draw_of(decision.seed, decision.user_id, decision.placement, decision.request_key),
        chosen=0,
        propensity=1.0,
    )


def unfilled(playbook: PublishedPlaybook, arm: Arm) -> str:
    """Return why the content of an arm can't be filled where nothing is known of the user, '' if it can."""
    names = names_of(playbook.offers[arm.offer], arm, Recipient(""))
    try:
        Contents(playbook.contents).text(arm.content, arm.channel, None, names)
    except ContentFailed as error:
        return str(error)
    return ""
