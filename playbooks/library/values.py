"""Offers of several face values: each value of a variant set is an offer of its own, made from another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from playbooks.models import Playbook, VariantSet
from playbooks.money import Money
from playbooks.offers import Offer
from playbooks.offers.naming import offer_id


def with_values(playbook: Playbook, offers: Mapping[str, Offer]) -> Mapping[str, Offer]:
    """Return offers and those that a playbook makes of them by giving them values."""
    if not any(variants.all_values for variants in playbook.variants):
        return offers
    made = dict(offers)
    for variants in playbook.variants:
        for value in variants.all_values:
            if (one := _made(variants, value, offers)) is not None:
                made[one.id] = one
    return made


def wrong_values(playbook: Playbook, offers: Mapping[str, Offer]) -> Iterator[tuple[str, str]]:
    """Yield values that can't be given to their offers, as (field, problem)."""
    for index, variants in enumerate(playbook.variants):
        base = offers.get(variants.offer or "")
        if base is None or not variants.all_values:
            continue
        place = f"variants.{index}.{'values' if variants.values else 'value'}"
        if base.kind != "fixed_amount":
            yield place, f"the offer {base.id!r} is of the kind {base.kind}; values are for fixed amounts"
            continue
        if base.stock is not None or base.maximum_liability is not None or base.cost_model.stated is not None:
            yield (
                place,
                f"the offer {base.id!r} has a stock, a maximum liability or a stated cost, which are of one "
                "value: write an offer for each value and list them as `offers`",
            )
        for value in variants.all_values:
            try:
                _valued(base, value)
            except ValidationError as error:
                yield place, f"{value}: {error.errors()[0]['msg'].removeprefix('Value error, ')}"


def _made(variants: VariantSet, value: Money, offers: Mapping[str, Offer]) -> Offer | None:
    base = offers.get(variants.offer or "")
    try:
        return None if base is None else _valued(base, value)
    except ValidationError:
        return None


def _valued(base: Offer, value: Money) -> Offer:
    return Offer.model_validate({**base.model_dump(), "id": offer_id(base.id, value), "value": value})
