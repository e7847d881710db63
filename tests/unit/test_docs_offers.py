"""The examples of docs/reference/offers.md are offers, and an answer shows one of them so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import msgspec
import yaml

from decision.answers import OfferShown
from playbooks.offers import Kind, Offer, mixed_currencies, terms_of

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "offers.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.S)
    assert found is not None
    return found[1]


def test_the_examples_are_offers_of_every_kind() -> None:
    offers = [Offer.model_validate(one) for one in yaml.safe_load(block("yaml"))]
    assert {one.kind for one in offers} == set(get_args(Kind))
    assert mixed_currencies(offers) is None
    five_off = offers[1]
    shown = OfferShown(five_off.id, five_off.name, five_off.attributes, terms_of(five_off))
    assert json.loads(msgspec.json.encode(shown)) == json.loads(block("json"))
    for field in Offer.model_fields:
        assert field in ("id", "name", "kind") or f"`{field}`" in PAGE
