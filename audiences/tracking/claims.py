"""Identities that a message names beside its user: external ids, the device, e-mail and phone of the traits.

A claim is verified only where the sender says so, by `context.verified: ["email", …]` or by a trait like
`email_verified: true`; an address that somebody typed joins nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from audiences.errors import EventRefused
from audiences.events import Claim
from audiences.tracking.limits import MAX_ID_LENGTH

# What becomes a claim, or says of one that it is verified, is not kept in the context a second time.
CLAIMED = frozenset({"externalIds", "verified"})
_NAMING = CLAIMED | {"device", "traits"}
TRAIT_KINDS = ("email", "phone")
DEVICE, DEVICE_TOKEN = "device", "device_token"
# External ids of other collections (accounts, products) are not of a user.
_USERS = "users"
_PLAIN = "none"
_MAX_CLAIMS = 32

_Found = tuple[str, str, object]


def claims_of(context: Mapping[str, Any], traits: Mapping[str, Any]) -> tuple[Claim, ...]:
    """Return the identities that a message's context and traits name, each once.

    Raises:
        EventRefused: `externalIds`, `verified` or a value can't be read or is too long; there are too many.
    """
    if not traits and _NAMING.isdisjoint(context):
        return ()
    said = context.get("traits")
    traits = traits or (said if isinstance(said, dict) else {})
    vouched = _verified(context.get("verified"))
    found: dict[tuple[str, str], bool] = {}
    for kind, where, value in (*_external(context.get("externalIds")), *_device(context), *_traits(traits)):
        text = _text(where, value)
        if text:
            verified = kind in vouched or (kind in TRAIT_KINDS and traits.get(f"{kind}_verified") is True)
            found[kind, text] = verified or found.get((kind, text), False)
    if len(found) > _MAX_CLAIMS:
        raise EventRefused(f"the message names {len(found)} identities, at most {_MAX_CLAIMS} are taken")
    return tuple([Claim(kind, value, verified) for (kind, value), verified in found.items()])


def _verified(kinds: object) -> frozenset[str]:
    if kinds is None:
        return frozenset()
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        raise EventRefused('`context.verified` must be a list of kinds, for example ["email"]')
    return frozenset(kinds)


def _external(ids: object) -> Iterator[_Found]:
    if ids is None:
        return
    if not isinstance(ids, list):
        raise EventRefused("`context.externalIds` must be a list of objects with `id` and `type`")
    for index, one in enumerate(ids):
        where = f"context.externalIds[{index}]"
        if not isinstance(one, dict) or not isinstance(one.get("type"), str) or not one["type"]:
            raise EventRefused(f"`{where}` must be an object with `id` and `type`")
        if one.get("collection", _USERS) != _USERS:
            continue
        encoding = one.get("encoding") or _PLAIN
        # A hash is an identity of another kind than what it was made of.
        kind = one["type"] if encoding == _PLAIN else f"{one['type']}_{encoding}"
        if len(kind) > MAX_ID_LENGTH:
            raise EventRefused(f"`{where}.type` is longer than {MAX_ID_LENGTH} characters")
        yield kind, f"{where}.id", one.get("id")


def _device(context: Mapping[str, Any]) -> Iterator[_Found]:
    device = context.get("device")
    if isinstance(device, dict):
        yield DEVICE, "context.device.id", device.get("id")
        yield DEVICE_TOKEN, "context.device.token", device.get("token")


def _traits(traits: Mapping[str, Any]) -> Iterator[_Found]:
    for kind in TRAIT_KINDS:
        yield kind, f"traits.{kind}", traits.get(kind)


def _text(where: str, value: object) -> str:
    """Return an identity as text; phone numbers also come as numbers. Empty where there is none."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise EventRefused(f"`{where}` must be text")
    text = str(value).strip()
    if len(text) > MAX_ID_LENGTH:
        raise EventRefused(f"`{where}` has {len(text)} characters, at most {MAX_ID_LENGTH} are taken")
    return text
