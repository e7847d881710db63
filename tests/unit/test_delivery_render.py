"""Contents filled for one user."""

from __future__ import annotations

import pytest

from delivery.errors import TemplateFailed
from delivery.plans import Plan
from delivery.render import Renderer, Text, check_content
from delivery.testing import arms_of, version_body
from playbooks.models import Content


def render(template: str, user_id: str = "ann") -> Text:
    body = version_body(body=template)
    return Renderer().render(Plan.of(body, 1), arms_of(body)["milk"], user_id)


def test_templates_see_user_offer_and_arm() -> None:
    names = ["user_id", "offer.id", "offer.name", "offer.category", "arm.category", "arm.playbook"]
    text = render("/".join(f"{{{{ {name} }}}}" for name in names))
    assert text == Text("10 % off milk for you", "ann/milk/10 % off milk/milk/milk/coupons")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("one\n{{ user.name }}", "line 2.*user"),
        ("{{ offer.price }}", "price"),
        ("{{ user_id | shout }}", "shout"),
        ("{% for i in (1..100000000) %}x{% endfor %}", "loop"),
        ("{% if %}", "line 1"),
        ("{{ user_id", "line 1"),
    ],
)
def test_what_can_not_be_filled_says_where(template: str, said: str) -> None:
    with pytest.raises(TemplateFailed, match=f"(?s)'hello'.*{said}"):
        render(template)


def test_a_value_is_never_read_as_a_template() -> None:
    assert render("{{ user_id }}", user_id="{{ offer.price }}").body == "{{ offer.price }}"


def test_a_content_can_be_checked_before_it_is_published() -> None:
    check_content(Content(id="c", subject="{{ user_id }}", body="{% if user_id %}x{% endif %}"))
    with pytest.raises(TemplateFailed, match="subject of the content 'c': line 1"):
        check_content(Content(id="c", subject="{{ user_id", body=""))


def test_a_version_without_the_offer_or_content_is_named() -> None:
    body = version_body()
    arm = arms_of(body)["milk"]
    bare = body.model_copy(update={"contents": []})
    with pytest.raises(TemplateFailed, match=r"version 1 .* no content 'hello'"):
        Renderer().render(Plan.of(bare, 1), arm, "ann")
