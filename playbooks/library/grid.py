"""From the variants of a playbook to its arms: a grid of offers, channels and contents, each arm with a name.

The name is the offer's id, or the `id` of the variant set; what the set lists (`offers` under an `id`,
`values`, `channels`, `contents`) is added to it, joined by `_`. A list of one is a list, so an arm keeps its
name, and what was learned of it, when the list grows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product

from playbooks.library.values import with_values, wrong_values
from playbooks.models import Arm, Playbook, VariantSet
from playbooks.offers import Offer, Worth, worth_of
from playbooks.offers.naming import offer_id, value_name

# More arms than this can't be told apart by the traffic one playbook gets (DESIGN.md, section 5).
MAX_ARMS = 64


def expand(playbook: Playbook, offers: Mapping[str, Offer]) -> tuple[Arm, ...]:
    """Return the arms of a playbook, set by set; offers that are not there have none."""
    offers = with_values(playbook, offers)
    return tuple(arm for variants in playbook.variants for arm in _arms(playbook.id, variants, offers))


def offers_named(playbook: Playbook) -> set[str]:
    """Return the ids of the offers that a playbook names; those of its groups are not among them."""
    return {name for variants in playbook.variants for name in _named(variants)}


def used_offers(playbook: Playbook, offers: Mapping[str, Offer]) -> list[Offer]:
    """Return the offers of a playbook's groups and those it names, in the order of `offers`."""
    groups = {variants.group for variants in playbook.variants} - {None}
    named = offers_named(playbook)
    return [one for one in offers.values() if one.id in named or one.attributes.get("group") in groups]


def wrong_arms(playbook: Playbook, offers: Mapping[str, Offer]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the arms of a playbook as (field, problem): too many, or names used twice."""
    yield from wrong_values(playbook, offers)
    arms = expand(playbook, offers)
    if len(arms) > MAX_ARMS:
        known = with_values(playbook, offers)
        sizes = ", ".join(
            f"variants.{index} has {sum(1 for _ in _arms(playbook.id, variants, known))}"
            for index, variants in enumerate(playbook.variants)
        )
        yield (
            "variants",
            f"{len(arms)} arms, at most {MAX_ARMS} can be told apart by one playbook's traffic ({sizes}): "
            "list fewer values, channels or contents, or split the playbook by audience",
        )
    for name, times in Counter(arm.name for arm in arms).items():
        if times > 1:
            yield "variants", f"{times} arms are named {name!r}: give one of the variant sets an `id`"


def _arms(playbook: str, variants: VariantSet, offers: Mapping[str, Offer]) -> Iterator[Arm]:
    for (base, offer), channel, content in product(
        _offers(variants, offers), variants.all_channels, variants.all_contents
    ):
        parts = [*base, *([channel] if variants.channels else ()), *([content] if variants.contents else ())]
        worth = worth_of(offer)
        yield Arm(
            id=f"{playbook}/{'_'.join(parts)}",
            playbook=playbook,
            offer=offer.id,
            channel=channel,
            content=content,
            attributes=_attributes(offer, worth, channel, content),
            value=worth.value,
            cost=worth.cost,
            liability=worth.liability,
            currency=worth.currency,
        )


def _attributes(offer: Offer, worth: Worth, channel: str, content: str) -> dict[str, str]:
    """Return what the value model and rules see of an arm; what costs nothing has no value there."""
    said = {"kind": offer.kind, "channel": channel, "content": content}
    if worth.currency:
        said["value"] = str(worth.value)
    return said | offer.attributes


def _offers(variants: VariantSet, offers: Mapping[str, Offer]) -> list[tuple[list[str], Offer]]:
    """Return the offers of a set, each with what the names of its arms begin with."""
    prefix = [] if variants.id is None else [variants.id]
    if variants.group is not None:
        found = [one for one in offers.values() if one.attributes.get("group") == variants.group]
        return [([*prefix, one.id], one) for one in found]
    if variants.offer is None:
        return [([*prefix, name], offers[name]) for name in variants.offers or () if name in offers]
    base = prefix or [variants.offer]
    if not variants.all_values:
        return [(base, offers[variants.offer])] if variants.offer in offers else []
    return [
        ([*base, value_name(value)] if variants.values else base, offers[name])
        for value in variants.all_values
        if (name := offer_id(variants.offer, value)) in offers
    ]


def _named(variants: VariantSet) -> list[str]:
    return variants.offers or ([variants.offer] if variants.offer is not None else [])
