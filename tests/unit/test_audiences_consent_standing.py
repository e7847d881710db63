"""Which word decides: the latest that covers what is asked; a denial where two are of the same moment."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiences.addresses import AddressKind, normal, normal_email, normal_phone
from audiences.consent.address_hash import AddressHash
from audiences.consent.models import Channel, Consent, ConsentState, moment
from audiences.consent.standing import allowed, standing
from audiences.errors import AddressUnfit, ConsentRefused
from tests.conftest import START

GRANTED, DENIED = ConsentState.GRANTED, ConsentState.DENIED
HOUR = timedelta(hours=1)


def word(
    state: ConsentState, hours: int = 0, purpose: str = "marketing", channel: str = "email", user: str = "ann"
) -> Consent:
    return Consent(user, purpose, Channel(channel), state, START + hours * HOUR, "test")


def test_silence_is_no_consent() -> None:
    assert not allowed([], "marketing", Channel.EMAIL)
    assert not allowed([word(GRANTED, purpose="service")], "marketing", Channel.EMAIL)
    assert not allowed([word(GRANTED, channel="sms")], "marketing", Channel.EMAIL)


def test_any_covers_all() -> None:
    assert allowed([word(GRANTED, channel="any")], "marketing", Channel.PUSH)
    assert allowed([word(GRANTED, purpose="any")], "marketing", Channel.EMAIL)
    later = word(DENIED, 1, purpose="any", channel="any")
    assert not allowed([word(GRANTED), later], "marketing", Channel.EMAIL)
    assert allowed([later, word(GRANTED, 2)], "marketing", Channel.EMAIL)


def test_profiles_of_one_person_speak_as_one() -> None:
    mine, other = word(GRANTED, 1), word(DENIED, 2, user="anonymous-1")
    assert not allowed([mine, other], "marketing", Channel.EMAIL)
    assert allowed([word(GRANTED, 3), other], "marketing", Channel.EMAIL)


words = st.lists(
    st.builds(
        word,
        st.sampled_from(ConsentState),
        st.integers(0, 3),
        st.sampled_from(["marketing", "service", "any"]),
        st.sampled_from(["email", "sms", "any"]),
        st.sampled_from(["ann", "bob"]),
    ),
    max_size=8,
)


@given(words)
def test_the_order_of_words_does_not_matter(said: list[Consent]) -> None:
    found = standing(said, "marketing", Channel.EMAIL)
    turned = standing(reversed(said), "marketing", Channel.EMAIL)
    assert (found is None) == (turned is None)
    if found is not None and turned is not None:
        assert (found.at, found.state) == (turned.at, turned.state)


@given(words)
def test_a_denial_that_no_grant_is_later_than_holds(said: list[Consent]) -> None:
    about = [one for one in said if one.purpose in ("marketing", "any") and one.channel in ("email", "any")]
    grants = [one.at for one in about if one.state is GRANTED]
    denials = [one.at for one in about if one.state is DENIED]
    expected = bool(grants) and (not denials or max(grants) > max(denials))
    assert allowed(said, "marketing", Channel.EMAIL) == expected


def test_a_clock_ahead_does_not_win_over_the_next_word() -> None:
    assert moment(START + HOUR, START) == START
    assert moment(None, START) == START
    assert moment(START - HOUR, START) == START - HOUR
    with pytest.raises(ConsentRefused, match="in the future"):
        moment(START + 25 * HOUR, START)
    with pytest.raises(ConsentRefused, match="no time zone"):
        moment(START.replace(tzinfo=None), START)


@pytest.mark.parametrize(
    ("written", "normal_form"),
    [
        (" Ann@Example.COM ", "ann@example.com"),
        ("ann+x@müller.example", "ann+x@xn--mller-kva.example"),
        ("ann@example.com.", "ann@example.com"),
    ],
)
def test_emails(written: str, normal_form: str) -> None:
    assert normal_email(written) == normal_form


@pytest.mark.parametrize(
    "written",
    [
        "",
        "ann",
        "ann@",
        "@example.com",
        "a b@example.com",
        "ann@localhost",
        "ann@-a.com",
        "a@b@c.com",
        "a\x00@b.com",
        "\ud800@b.com",
        "x" * 65 + "@example.com",
        "ann@" + "a" * 64 + ".com",
        "ann@a..com",
    ],
)
def test_what_is_no_email(written: str) -> None:
    with pytest.raises(AddressUnfit, match="e-mail address"):
        normal_email(written)


def test_phones() -> None:
    assert normal_phone("+49 170 1234567") == normal_phone("0170 / 123 45 67", "DE") == "+491701234567"
    for wrong in ("", "0170 1234567", "+49", "+999 170 1234567", "call me", "+49 1"):
        with pytest.raises(AddressUnfit, match="phone number"):
            normal_phone(wrong)


@given(st.sampled_from(AddressKind), st.text())
def test_any_text_is_an_address_or_refused(kind: AddressKind, text: str) -> None:
    try:
        found = normal(kind, text, "DE")
    except AddressUnfit:
        return
    assert normal(kind, found) == found


def test_hashes_differ_by_key_and_kind_and_not_by_spelling() -> None:
    one, other = AddressHash(b"1" * 32), AddressHash(b"2" * 32)
    assert one.of(AddressKind.EMAIL, "Ann@example.com") == one.of(AddressKind.EMAIL, "ann@EXAMPLE.com")
    assert one.of(AddressKind.EMAIL, "ann@example.com") != other.of(AddressKind.EMAIL, "ann@example.com")
    assert "ann" not in one.of(AddressKind.EMAIL, "ann@example.com")
    assert one.fingerprint != other.fingerprint
