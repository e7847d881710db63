"""Links of messages: nobody else can make them, texts keep everything but their addresses."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiences.consent.models import Channel
from delivery.errors import LinkBroken, LinkExpired
from delivery.links import rewriting
from delivery.links.links import PREFERENCES_FOR, SignedLinks
from delivery.links.rewriting import rewritten
from delivery.links.signing import Preferences, Signer, Tracked, Unsubscribe, check
from delivery.models import Message
from playbooks.content.filling import Text

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
OURS = "https://m.example.com"
SIGNER = Signer(b"k" * 32)


def track(url: str, number: int, links: int) -> str:
    return f"{OURS}/t/{number}of{links}:{url}"


def test_examples() -> None:
    assert doctest.testmod(rewriting).failed == 0


A, B = "https://a.example/b?x=1", "http://b.example/(c)"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (f"Go ({A}).", f"Go ({track(A, 1, 1)})."),
        (f"{A}, {B}!", f"{track(A, 1, 2)}, {track(B, 2, 2)}!"),
        (f"{OURS}/p/x and {A}", f"{OURS}/p/x and {track(A, 1, 1)}"),
        (f"{OURS}.evil.example/", track(f"{OURS}.evil.example/", 1, 1)),
        ("mailto:a@b.example ftp://a.example", "mailto:a@b.example ftp://a.example"),
        (
            f'<html><body><a class=x href="{A}&amp;y=2">{B}</a></body></html>',
            f'<html><body><a class=x href="{OURS}/t/1of1:{A}&amp;y=2">{B}</a>'
            '<img src="pixel" width="1" height="1" alt=""></body></html>',
        ),
        ("<!doctype html>No links", '<!doctype html>No links<img src="pixel" width="1" height="1" alt="">'),
    ],
)
def test_addresses_become_tracked_and_nothing_else_changes(body: str, expected: str) -> None:
    assert rewritten(body, track, OURS, "pixel") == expected


def test_without_a_public_address_or_on_other_channels_texts_stay_as_they_are() -> None:
    text = Text("s", "https://a.example")
    message = Message("k", "ann", "", "", NOW)
    assert SignedLinks("", SIGNER).dressed("k", Channel.EMAIL, text) is text
    assert SignedLinks(OURS, SIGNER).dressed("k", Channel.ANY, text) is text
    dressed = SignedLinks(OURS, SIGNER).dressed("k", Channel.SMS, text)
    assert SIGNER.read(dressed.body.removeprefix(f"{OURS}/t/"), Tracked) == Tracked("k", text.body, 1, 1)
    assert SignedLinks("", SIGNER).preferences("ann", NOW) is None
    # RFC 8058 wants https.
    assert SignedLinks("http://m.example.com", SIGNER).unsubscribe(message) is None


def test_a_link_is_good_for_its_time_and_for_what_it_was_made_for() -> None:
    made = SignedLinks(OURS, SIGNER)
    page = made.preferences("ann", NOW) or ""
    token = page.removeprefix(f"{OURS}/p/")
    found = SIGNER.read(token, Preferences)
    assert found.user_id == "ann"
    check(found.until, NOW + PREFERENCES_FOR - timedelta(seconds=1))
    with pytest.raises(LinkExpired):
        check(found.until, NOW + PREFERENCES_FOR)
    for signer, kind in ((SIGNER, Unsubscribe), (SIGNER, Tracked), (Signer(b"other"), Preferences)):
        with pytest.raises(LinkBroken):
            signer.read(token, kind)


@settings(max_examples=60)
@given(st.integers(0, 200), st.characters(codec="utf-8"), st.text(max_size=30))
def test_a_changed_link_is_none(at: int, character: str, url: str) -> None:
    token = SIGNER.sign(Tracked("k", url, 1, 2))
    assert SIGNER.read(token, Tracked) == Tracked("k", url, 1, 2)
    at %= len(token)
    changed = token[:at] + character + token[at + 1 :]
    for one in (changed, token[:at], token + character):
        if one != token:
            with pytest.raises(LinkBroken):
                SIGNER.read(one, Tracked)
