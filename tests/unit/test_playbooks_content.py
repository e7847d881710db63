"""Contents: how they are worded, what they are made of, what they may take, and what is wrong with them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from delivery.testing import version_body
from playbooks.content import blocks
from playbooks.content.checking import Flaw, flaws
from playbooks.content.documents import Content, Wording
from playbooks.content.filling import Contents, Text
from playbooks.content.languages import chain, language_of, worded
from playbooks.content.names import Recipient, Vocabulary, sample
from playbooks.content.places import place_in
from playbooks.content.preview import completed, previews, roots_of
from playbooks.errors import ContentFailed
from playbooks.offers import Offer

VOCABULARY = Vocabulary(user={"orders_12w": 3}, trait={"name": "Ann"}, trigger={"sku": "A1"})
OFFERS = {"five": Offer(id="five", name="Five", attributes={"category": "MILK"})}


def content(body: str, name: str = "hello", **fields: Any) -> Content:
    fields = {"subject": "Hi", **fields} if fields.get("kind") != "block" else fields
    return Content.model_validate({"id": name, "body": body, **fields})


def block(name: str, body: str) -> Content:
    return content(body, name, kind="block")


def by_id(*contents: Content) -> dict[str, Content]:
    return {one.id: one for one in contents}


def found(*contents: Content) -> list[Flaw]:
    return list(flaws(by_id(*contents), OFFERS, VOCABULARY))


def fill(body: str, **names: Any) -> str:
    return Contents(by_id(content(body))).text("hello", "mailbox", None, names).body


SEVERAL = content(
    "base",
    language="en",
    fallback=["fr", "de"],
    texts=[
        {"language": "de", "body": "de"},
        {"language": "de", "channel": "sms", "body": "de on sms"},
        {"language": "fr", "body": "fr"},
        {"language": "pt-BR", "body": "pt-BR"},
        {"channel": "sms", "body": "sms"},
    ],
)


@pytest.mark.parametrize(
    ("channel", "language", "said"),
    [
        ("mailbox", "de", "de"),
        ("mailbox", "de-AT", "de"),
        ("sms", "de-AT", "de on sms"),
        ("mailbox", "pt-br", "pt-BR"),
        ("mailbox", "pt", "fr"),
        ("sms", None, "fr"),
        ("sms", "en", "sms"),
        ("mailbox", "en", "base"),
    ],
)
def test_the_wording_follows_channel_and_language(channel: str, language: str | None, said: str) -> None:
    assert worded(SEVERAL, channel, language).body == said
    assert Contents(by_id(SEVERAL)).text("hello", channel, language, {}).body == said


def test_the_chain_of_languages_is_the_users_then_the_stated_one() -> None:
    assert list(chain(SEVERAL, "de-AT")) == ["de-AT", "de", "fr", "en"]
    assert list(chain(content("x"), None)) == [None]
    assert [language_of(one) for one in ("de_AT.UTF-8", " EN ", "x", 7, "english")] == [
        "de-AT",
        "en",
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"subject": ""}, "a message has a subject"),
        ({"kind": "block", "subject": "Hi"}, "a block has no subject"),
        ({"texts": [{"body": "again"}]}, "two texts without a language on every channel"),
        ({"language": "en", "texts": [{"language": "en", "body": "x"}]}, "two texts in en on every channel"),
        ({"fallback": ["de"]}, "fallback names de, in which there is no text"),
        ({"texts": [{"language": "German", "body": "x"}]}, "pattern"),
    ],
)
def test_contents_that_are_wrong_in_their_form(fields: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Content.model_validate({"id": "hello", "subject": "Hi", "body": "x", **fields})


@pytest.mark.parametrize(
    ("template", "message", "line", "column"),
    [
        ("Hi\n {{ user.orders_21w }}", "there is no user.orders_21w, did you mean 'orders_12w'?", 2, 5),
        ("{{ usr.orders_12w }}", "there is no 'usr', did you mean 'user'?", 1, 4),
        ("{{ offer.categry }}", "there is no offer.categry, did you mean 'category'?", 1, 4),
        ("{{ trait.nme }}", "there is no trait.nme, did you mean 'name'?", 1, 4),
        ("{{ user_id | upcas }}", "there is no filter 'upcas', did you mean 'upcase'?", 1, 14),
        ("{% render 'fot' %}", "there is no block 'fot', did you mean 'foot'?", 1, 11),
        ("{% render 'other' %}", "'other' is a message", 1, 11),
        ("{% include 'foot' %}", "unexpected tag 'include'", 1, 4),
        ("a\n{{ user_id", "expected '}}'", 2, 1),
    ],
)
def test_what_is_not_there_is_told_with_its_place(
    template: str, message: str, line: int, column: int
) -> None:
    (flaw,) = found(content(template), block("foot", "Bye"), content("x", "other"))
    assert (flaw.content, flaw.field, flaw.line, flaw.column) == ("hello", "body", line, column)
    assert message in flaw.message


def test_right_contents_have_no_flaws() -> None:
    text = (
        "{% if user.orders_12w > 2 %}{{ trait.name | default: 'you' }}{% endif %}"
        "{% for one in (1..3) %}{{ forloop.index }}{{ one }}{% endfor %}"
        "{% assign x = offer.category | downcase %}{{ x }} {{ offer.value | money: offer.currency }}"
        "{{ trigger.sku }} {{ arm.channel }} {% render 'foot' %}"
    )
    assert found(content(text), block("foot", "{{ user_id }}")) == []


def test_blocks_that_take_each_other_in_are_refused() -> None:
    told = found(content("{% render 'a' %}"), block("a", "{% render 'b' %}"), block("b", "x{% render 'a' %}"))
    assert {(one.content, one.message) for one in told} == {
        ("a", "blocks take each other in without end: a → b → a"),
        ("b", "blocks take each other in without end: b → a → b"),
    }
    many = [block(f"b{n}", f"{{% render 'b{n + 1}' %}}" * 2) for n in range(20)]
    started = time.monotonic()
    told = found(content("{% render 'b0' %}"), *many, block("b20", "x"))
    assert "hello" in {one.content for one in told if "more than 100 blocks" in one.message}
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for i in (1..100000000) %}x{% endfor %}", "loops more than 1000"),
        ("{% for i in (1..9999999999999999999999) reversed %}x{% endfor %}", "loops more than 1000"),
        ("{% for i in (1..1000) %}{% for j in (1..1000) %}x{% endfor %}{% endfor %}", "loops more than 1000"),
        ("{% for i in (1..1000) %}{% render 'wide' %}{% endfor %}", "writes more than 256 KiB"),
        ("{% assign s = 'x' %}{% for i in (1..99) %}{% assign s = s | append: s %}{% endfor %}", "64 KiB"),
        (
            "{% assign s = 'x' %}{% for i in (1..15) %}{% assign s = s | append: s %}{% endfor %}"
            "{{ s | replace: 'x', s }}",
            "replace meets more than",
        ),
        ("{% assign n = 9 %}{% for i in (1..99) %}{% assign n = n | times: n %}{% endfor %}", "number"),
        ("{{ (1..100000000) | join: ',' }}", "list of more than"),
        ("{{ 'x'" + " | base64_encode" * 200 + " }}", "characters"),
    ],
)
def test_what_goes_beyond_a_limit_is_told_before_an_import(template: str, said: str) -> None:
    started = time.monotonic()
    (flaw,) = found(content(template), block("wide", "x" * 1000))
    assert said in flaw.message
    assert flaw.content == "hello"
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("reached", ["{{ 'now' | date: '%Y' }}", "{{ 'today' | date: '%Y' }}"])
def test_there_is_no_clock_in_a_template(reached: str) -> None:
    with pytest.raises(ContentFailed, match="no moment"):
        fill(reached)


def test_values_are_all_that_can_be_reached() -> None:
    at = datetime(2026, 3, 2, tzinfo=UTC)
    assert fill("{{ at | date: '%d.%m.%Y' }}", at=at) == "02.03.2026"
    assert fill("{{ '2026-03-02T10:00:00Z' | date: '%H' }}") == "10"
    assert fill("{{ 500 | money: 'EUR' }}") == "5.00 EUR"
    for reach in ("at.__class__", "at.year", "text.__len__", "list.append"):
        with pytest.raises(ContentFailed, match="not known"):
            fill(f"{{{{ {reach} }}}}", at=at, text="x", list=[1])
    with pytest.raises(ContentFailed, match="widths"):
        fill("{{ at | date: '%999999999d' }}", at=at)


def test_what_fails_in_a_block_is_placed_there() -> None:
    filled = Contents(by_id(content("{% render 'foot' %}"), block("foot", "a\n{{ trait.name }}")))
    with pytest.raises(ContentFailed, match=r"the block 'foot', line 2, column 4: trait.name is not known"):
        filled.text("hello", "mailbox", None, {"trait": {}})
    assert filled.text("hello", "mailbox", None, {"trait": {"name": "Ann"}}) == Text("Hi", "a\nAnn")
    assert filled.roots("hello") == {"trait"}


def test_places_in_the_file() -> None:
    text = (
        "- id: other\n  subject: x\n  body: x\n"
        '- id: hello\n  subject: "Hi {{ usr }}"\n  body: |\n    Hello,\n      {{ usr }}\n'
        "  texts:\n    - {language: de, body: '{{ usr }}'}\n"
    )
    assert place_in(text, "hello", "subject", 1, 7) == (5, 19)
    assert place_in(text, "hello", "body", 2, 6) == (8, 10)
    assert place_in(text, "hello", "texts.0.body", 1, 4) == (10, 32)
    assert place_in(text, "gone", "body", 1, 1) == (0, 0)
    for line, column in ((5, 19), (8, 10), (10, 32)):
        assert text.splitlines()[line - 1][column - 1 :].startswith("usr")


def test_previews_have_every_message_of_a_run_in_every_language() -> None:
    flow = {
        "start": "first",
        "states": {
            "first": {"kind": "send", "next": "second"},
            "second": {"kind": "send", "channel": "sms", "content": "short", "next": "over"},
            "over": {"kind": "end", "result": "told"},
        },
    }
    short = content(
        "Hallo {{ trait.name }}", "short", language="de", texts=[{"language": "en", "body": "Hello"}]
    )
    version = version_body(flow)
    version = version.model_copy(update={"contents": [*version.contents, short]})
    shown = [one for one in previews(version, Recipient("ann")) if one.variant == "milk"]
    assert [(one.channel, one.content, one.asked, one.body) for one in shown] == [
        ("memory", "hello", "de", "Hello ann: 10 % off milk"),
        ("memory", "hello", "en", "Hello ann: 10 % off milk"),
        ("sms", "short", "de", ""),
        ("sms", "short", "en", "Hello"),
    ]
    assert "trait.name is not known" in shown[2].problem
    known, assumed = completed(Recipient("ann"), sample(VOCABULARY))
    assert assumed[:3] == ["user.orders_12w", "trait.name", "trigger.sku"]
    assert assumed[3:] == ["coupon.code", "coupon.expires_at", "links.preferences"]
    assert not any(one.problem for one in previews(version, known))
    assert roots_of(version) == {"offer", "user_id", "trait", "language"}


def test_blocks_go_where_the_content_goes() -> None:
    contents = by_id(
        content("{% render 'a' %}"), block("a", "{% render 'b' %}"), block("b", ""), block("c", "")
    )
    assert blocks.with_blocks(["hello"], contents) == {"hello", "a", "b"}
    assert Wording(body="x").key("en") == (None, "en")


def test_in_a_page_of_html_nobody_writes_html_but_its_author() -> None:
    evil = '<script>"a" & b</script>'
    page = """<!DOCTYPE html><html><body>{% render 'head', said: name %}<b>{{ name | upcase }}</b>
    {% capture twice %}{{ name }}{{ name | escape }}{% endcapture %}{{ twice }}</body></html>"""
    contents = by_id(
        content(page, subject="For {{ name }}"),
        block("head", "<h1>{{ said }}</h1>"),
        content("{{ name }}", "plain"),
    )
    filled = Contents(contents)
    text = filled.text("hello", "mailbox", None, {"name": evil})
    safe = "&lt;script&gt;&#34;a&#34; &amp; b&lt;/script&gt;"
    assert text.body.startswith(f"<!DOCTYPE html><html><body><h1>{safe}</h1><b>")
    assert "<script" not in text.body.lower()
    assert text.body.count(safe) == 3
    # What is no page is written as it is.
    assert text.subject == f"For {evil}"
    assert filled.text("plain", "mailbox", None, {"name": evil}).body == evil
