"""Identities beside the user: which a message names, and which its sender vouches for."""

from __future__ import annotations

from typing import Any

import pytest

from audiences.errors import EventRefused
from audiences.events import Claim
from audiences.tracking.claims import claims_of


def test_traits_name_an_address_that_nobody_vouches_for() -> None:
    assert claims_of({}, {"email": " ann@example.com ", "phone": 4930123456, "age": 5}) == (
        Claim("email", "ann@example.com"),
        Claim("phone", "4930123456"),
    )


@pytest.mark.parametrize(
    ("context", "traits"),
    [
        ({"verified": ["email"]}, {"email": "a@example.com", "phone": "1"}),
        ({}, {"email": "a@example.com", "phone": "1", "email_verified": True}),
        ({"verified": ["email"], "traits": {"email": "a@example.com", "phone": "1"}}, {}),
    ],
)
def test_a_claim_is_verified_where_the_sender_says_so(
    context: dict[str, Any], traits: dict[str, Any]
) -> None:
    assert claims_of(context, traits) == (Claim("email", "a@example.com", True), Claim("phone", "1"))


@pytest.mark.parametrize("said", ["true", 1, None, False])
def test_anything_but_true_verifies_nothing(said: object) -> None:
    assert claims_of({}, {"email": "a@example.com", "email_verified": said}) == (
        Claim("email", "a@example.com"),
    )


def test_external_ids_and_the_device() -> None:
    ids = [
        {"id": "o1", "type": "open_id", "collection": "users", "encoding": "none"},
        {"id": "abc", "type": "email", "encoding": "sha256"},
        {"id": "acme", "type": "crm", "collection": "accounts"},
        {"id": "o1", "type": "open_id"},
    ]
    context = {"externalIds": ids, "device": {"id": "d1", "token": "t1"}, "verified": ["open_id"]}
    assert claims_of(context, {}) == (
        Claim("open_id", "o1", True),
        Claim("email_sha256", "abc"),
        Claim("device", "d1"),
        Claim("device_token", "t1"),
    )


@pytest.mark.parametrize(
    ("context", "what"),
    [
        ({"externalIds": "x"}, "`context.externalIds` must be a list"),
        ({"externalIds": ["x"]}, r"`context.externalIds\[0\]` must be an object"),
        ({"externalIds": [{"id": "x"}]}, r"`context.externalIds\[0\]` must be an object"),
        ({"externalIds": [{"id": {}, "type": "t"}]}, r"`context.externalIds\[0\].id` must be text"),
        ({"externalIds": [{"id": "x", "type": "t" * 300}]}, "longer than 255"),
        ({"externalIds": [{"id": str(n), "type": "t"} for n in range(40)]}, "names 40 identities"),
        ({"verified": "email"}, "`context.verified` must be a list"),
        ({"verified": [1]}, "`context.verified` must be a list"),
        ({"device": {"id": 1.5}}, "`context.device.id` must be text"),
        ({"traits": {"email": "x" * 300}}, "`traits.email` has 300 characters"),
        ({"traits": {"email": True}}, "`traits.email` must be text"),
    ],
)
def test_what_is_no_identity_is_refused(context: dict[str, Any], what: str) -> None:
    with pytest.raises(EventRefused, match=what):
        claims_of(context, {})


def test_what_names_nobody_claims_nothing() -> None:
    assert claims_of({}, {}) == ()
    assert claims_of({"device": None, "traits": "x"}, {"email": "", "phone": None}) == ()
