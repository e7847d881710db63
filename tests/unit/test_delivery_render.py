"""Contents filled for one user, as a version has them."""

from __future__ import annotations

from collections.abc import Set
from datetime import UTC, datetime

import pytest

from delivery.models import Enrolment
from delivery.plans import Plan
from delivery.recipients import Occasion
from delivery.render import Renderer
from delivery.testing import arms_of, version_body
from playbooks.content.documents import Content, Wording
from playbooks.content.filling import Text
from playbooks.content.names import Recipient
from playbooks.errors import ContentFailed
from playbooks.models import Arm


class Ann:
    """Knows one user, and notes what it was asked for."""

    def __init__(self, **known: object) -> None:
        self.known, self.asked = known, set[str]()

    def of(self, user_id: str, roots: Set[str], occasion: Occasion) -> Recipient:
        self.asked |= roots
        return Recipient(user_id, **self.known)  # type: ignore[arg-type]


def render(template: str, user_id: str = "ann", who: Ann | None = None) -> Text:
    body = version_body(body=template)
    arm = arms_of(body)["milk"]
    return Renderer(who).render(Plan.of(body, 1), enrolled(user_id, arm), "memory", "hello")


def enrolled(user_id: str, arm: Arm) -> Enrolment:
    now = datetime(2026, 3, 2, tzinfo=UTC)
    return Enrolment("e", user_id, "coupons", 1, "decision", arm, "send", now, now)


def test_templates_see_user_offer_and_arm() -> None:
    names = ["user_id", "offer.id", "offer.name", "offer.category", "arm.category", "arm.playbook"]
    text = render("/".join(f"{{{{ {name} }}}}" for name in names))
    assert text == Text("10 % off milk for you", "ann/milk/10 % off milk/milk/milk/coupons")


def test_what_is_known_of_the_user_is_asked_for_where_it_is_named() -> None:
    who = Ann(user={"orders_12w": 7}, trait={"name": None}, account={"tier": "gold"}, trigger={"sku": "A1"})
    template = (
        "{{ user.orders_12w }} {{ trait.name | default: 'friend' }} {{ account.tier }} {{ trigger.sku }}"
    )
    assert render(template, who=who).body == "7 friend gold A1"
    assert who.asked >= {"user", "trait", "account", "trigger"}
    nobody = Ann()
    render("{{ offer.name }}", who=nobody)
    assert not nobody.asked & {"user", "trait", "account", "trigger", "language"}


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("one\n{{ user.name }}", "line 2, column 4: user.name is not known.*default"),
        ("{{ offer.price }}", "price"),
        ("{{ user_id | shout }}", "shout"),
        ("{% for i in (1..100000000) %}x{% endfor %}", "loops more than 1000 times"),
        ("{% if %}", "line 1"),
        ("{{ user_id", "line 1"),
    ],
)
def test_what_can_not_be_filled_says_where(template: str, said: str) -> None:
    with pytest.raises(ContentFailed, match=f"(?s)'hello'.*{said}"):
        render(template)


def test_a_value_is_never_read_as_a_template() -> None:
    assert render("{{ user_id }}", user_id="{{ offer.price }}").body == "{{ offer.price }}"


def test_a_version_without_the_offer_or_content_is_named() -> None:
    body = version_body()
    arm = arms_of(body)["milk"]
    bare = body.model_copy(update={"contents": []})
    with pytest.raises(ContentFailed, match=r"version 1 .* content 'hello'"):
        Renderer().render(Plan.of(bare, 1), enrolled("ann", arm), "memory", "hello")


def test_users_are_written_to_in_their_language_with_blocks_of_it() -> None:
    foot = Content(
        id="foot", kind="block", body="Bye", language="en", texts=[Wording(language="de", body="Tschüss")]
    )
    hello = Content(
        id="hello",
        subject="Hi",
        body="Hello. {% render 'foot' %}",
        language="en",
        texts=[Wording(language="de", subject="Hallo", body="Guten Tag. {% render 'foot' %}")],
    )
    body = version_body().model_copy(update={"contents": [hello, foot]})
    plan, arm = Plan.of(body, 1), arms_of(body)["milk"]
    assert Renderer(Ann(language="de-AT")).render(
        plan, enrolled("ann", arm), arm.channel, arm.content
    ) == Text("Hallo", "Guten Tag. Tschüss", "de")
    assert Renderer(Ann(language="fr")).render(plan, enrolled("ann", arm), arm.channel, arm.content) == Text(
        "Hi", "Hello. Bye", "en"
    )
