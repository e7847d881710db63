"""Above what a second person has to approve a version: the thresholds of `approval.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Protocol

from pydantic import Field

from playbooks.content.documents import Content
from playbooks.document import Document
from playbooks.library.documents import VersionBody
from playbooks.money import Money, shown
from playbooks.offers import Offer


class Approval(Document):
    """What an author may publish alone; a threshold that is not set stops nobody.

    `liability` is what a playbook may cost at worst: the liability of its dearest arm for everybody it
    reaches, or its budget where that is less. `reach` is how many users are in its audience now.
    `discount_depth` is the share of the price that is given away at most, in per cent. `content`: a second
    person reads what a version says differently from the one approved or served before it.
    """

    liability: Money | None = None
    reach: Annotated[int, Field(ge=0)] | None = None
    discount_depth: Annotated[float, Field(ge=0, le=100)] | None = None
    content: bool = False


class Reach(Protocol):
    """Says how many users a playbook reaches at most."""

    def of(self, audience: str | None) -> int | None:
        """Return how many users are in an audience (None: all users); None while nobody knows."""
        ...


def above(
    approval: Approval, body: VersionBody, reach: Reach, before: VersionBody | None = None
) -> list[str]:
    """Return why a second person has to approve a version; nothing where its author may publish it.

    Args:
        before: the version that was approved or served last, None where there was none.
    """
    reasons = list(_reasons(approval, body, reach))
    if approval.content and (changed := _reworded(body, before)):
        reasons.append(f"content: {', '.join(changed)} says what nobody but its author has read")
    return reasons


def _reworded(body: VersionBody, before: VersionBody | None) -> list[str]:
    """Return the contents of which a template, or where it is used, is another one."""
    known = {} if before is None else {one.id: one for one in before.contents}
    return [one.id for one in body.contents if one.id not in known or _said(one) != _said(known[one.id])]


def _said(content: Content) -> object:
    return content.model_copy(update={"notes": ""})


def _reasons(approval: Approval, body: VersionBody, reach: Reach) -> Iterator[str]:
    users = reach.of(body.playbook.audience)
    whom = f"the audience {body.playbook.audience}" if body.playbook.audience else "everybody"
    if approval.reach is not None and (users is None or users > approval.reach):
        known = "is not known yet" if users is None else f"is {users} users"
        yield f"reach: {whom} {known}, above the {approval.reach} that one person may reach alone"
    if approval.liability is not None:
        yield from _liability(approval.liability, body, users, whom)
    if approval.discount_depth is not None:
        given = {arm.offer for arm in body.arms}
        for offer in (one for name, one in body.offers_by_id.items() if name in given):
            depth = discount_depth(offer)
            if depth > approval.discount_depth:
                yield (
                    f"discount depth: offer {offer.id} gives up to {depth:g} % away, above the "
                    f"{approval.discount_depth:g} % that one person may give"
                )


def discount_depth(offer: Offer) -> float:
    """Return the largest share of a price that an offer takes off, in per cent; 0 where it takes nothing off.

    A fixed amount without a minimum spend may be the whole price.
    """
    if offer.kind == "percentage":
        return offer.percent or 0.0
    if offer.kind != "fixed_amount" or offer.value is None:
        return 0.0
    if offer.minimum_spend is None or offer.minimum_spend.amount == 0:
        return 100.0
    return min(100.0, 100 * offer.value.amount / offer.minimum_spend.amount)


def _liability(most: Money, body: VersionBody, users: int | None, whom: str) -> Iterator[str]:
    dearest = max(body.arms, key=lambda arm: arm.liability)
    if not dearest.liability:
        return
    if dearest.currency != most.currency:
        yield f"liability: arm {dearest.name} is in {dearest.currency}, the threshold is {most}"
    elif users is None:
        yield (
            f"liability: {shown(dearest.liability, dearest.currency)} a user (arm {dearest.name}), and the "
            f"reach of {whom} is not known yet: it may be above {most}"
        )
    elif dearest.liability * users > most.amount:
        worst = shown(dearest.liability * users, dearest.currency)
        yield (
            f"liability: at worst {worst} (arm {dearest.name} for {users} users of {whom}), above the {most} "
            "that one person may promise"
        )
