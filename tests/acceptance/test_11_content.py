"""Story 11, what goes out: contents in a user's language, previews, proofs; test users count for nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import yaml
from typer.testing import CliRunner, Result

from decision.cli import app
from decision.demo.run import LIBRARY
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running
from tests.launching import running_service

CONTENTS = """
- id: offer_notice
  language: en
  subject: "{{ offer.name }} for {{ trait.name }}"
  body: |
    Dear {{ trait.name | default: 'friend' }}, {{ user.orders_4w }} orders, lately {{ trigger.value }}.
    {% render 'foot' %}
  texts:
    - {language: de, subject: "{{ offer.name }} für {{ trait.name }}", body: "Hallo. {% render 'foot' %}"}
- {id: banner, language: en, subject: Hi, body: "{{ offer.name }}, {{ trait.name }}"}
- id: code
  language: en
  subject: Code
  body: "{{ coupon.code }} until {{ coupon.expires_at | date: '%Y-%m-%d' }}"
- {id: brief, language: en, subject: Hi, body: Brief, valid_until: "2026-03-04T00:00:00Z"}
- {id: foot, kind: block, language: en, body: Your shop, texts: [{language: de, body: Dein Laden}]}
"""
TRIGGERS = "triggers: [{id: bought, name: Bought, when: {event: order_completed}}]\n"
SEEDS = "test_users: [qa]\nseeds: [{user_id: seed-ann, languages: [de]}]\n"
PLAN = """
id: greet
name: Greet
placement: outbound
trigger: bought
goal: {event: order_completed, window: P7D}
variants: [{offers: [coffee], channel: mailbox, content: offer_notice}]
constraints: [{id: few, limit: 50, window: P7D}]
flow:
  start: tell
  states: {tell: {kind: send, next: over}, over: {kind: end, result: told}}
"""

SHOWN = """
id: show
name: Show
placement: home
goal: {event: order_completed, window: P7D}
variants: [{offers: [coffee], channel: mailbox, contents: [banner, brief]}]
flow: {start: over, states: {over: {kind: end, result: shown}}}
"""

AGAIN = """
id: again
name: Again
placement: again
goal: {event: order_completed, window: P7D}
variants: [{offers: [coffee], channel: mailbox, content: code}]
flow:
  start: once_more
  states:
    once_more: {kind: decide, next: give, on_nothing: over}
    give: {kind: issue, next: tell}
    tell: {kind: send, next: over}
    over: {kind: end, result: told}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with one playbook, a seed and a test user."""
    data = tmp_path_factory.mktemp("content")
    library = shutil.copytree(LIBRARY, data / "library")
    shutil.rmtree(library / "playbooks")
    (library / "playbooks").mkdir()
    for name, text in {
        "contents.yaml": CONTENTS,
        "triggers.yaml": TRIGGERS,
        "test_users.yaml": SEEDS,
        "playbooks/greet.yaml": PLAN.replace("coffee", _offer(library)),
        "playbooks/again.yaml": AGAIN.replace("coffee", _offer(library)),
        "playbooks/show.yaml": SHOWN.replace("coffee", _offer(library)),
        "policy.yaml": (library / "policy.yaml").read_text().replace("[outbound]", "[outbound, home, again]"),
    }.items():
        (library / name).write_text(text)
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)


def _offer(library: Any) -> str:
    return str(yaml.safe_load((library / "offers.yaml").read_text())[0]["id"])


def identify(service: Running, user: str, **traits: str) -> None:
    sent = {"messageId": str(uuid4()), "userId": user, "traits": traits, "timestamp": service.now.isoformat()}
    assert service.http.post("/v1/identify", json=sent).json()["accepted"] == 1


def preview(service: Running, **asked: Any) -> dict[str, Any]:
    answer = service.http.post("/v1/playbooks/greet/preview", json=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_user_gets_the_message_in_the_users_language(service: Running) -> None:
    for user, language in (("ann", "de_AT"), ("ben", "fr")):
        identify(service, user, name=user.title(), language=language)
        service.order(user, "COFFEE", days_ago=0.01)
    service.order("cy", "TEA", days_ago=0.01)
    service.run("push", "features", "audiences", "triggers")
    for user in ("ann", "ben", "cy"):
        service.acting_decision(user)
    service.run("deliver")
    (mail, *_) = service.mails_to("ann")
    assert mail.get_payload(decode=True).decode() == "Hallo. Dein Laden\r\n"  # type: ignore[union-attr]
    (mail, *_) = service.mails_to("ben")
    assert "for Ben" in str(mail["Subject"])
    text = mail.get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert text == "Dear Ben, 1 orders, lately 2.5.\r\nYour shop\r\n"
    # Of one nobody knows the name: that message fails, with the reason, and the others went out.
    assert service.mails_to("cy") == []
    (failed, *_) = [one for one in service.history("cy") if one["label"] == "failed"]
    assert "trait.name is not known" in json.dumps(failed)


def test_an_answer_that_is_shown_at_once_has_its_message(service: Running) -> None:
    def shown(user: str, variant: str) -> Any:
        for _ in range(200):
            answer = service.decide(user, "home").json()
            if answer["content"] == variant:
                return answer["message"]
        raise AssertionError(f"{variant} was never drawn")

    assert shown("ann", "brief") == {"subject": "Hi", "body": "Brief", "language": "en"}
    assert shown("ann", "banner")["body"].endswith(", Ann")
    # The offer stays when its content can't be filled for this user, and it is said why.
    assert "trait.name is not known" in shown("cy", "banner")["problem"]
    assert service.decide("ann").json()["message"] is None


def test_what_is_over_is_given_to_nobody(service: Running) -> None:
    (lint,) = [
        one for one in service.http.get("/v1/library/lint").json()["findings"] if "brief" in one["message"]
    ]
    assert lint["code"] == "content-expires"
    service.move(timedelta(days=2))
    answers = [service.decide("ann", "home").json() for _ in range(20)]
    assert {one["content"] for one in answers} <= {"banner", None}
    (variants,) = {tuple(one["suppressed"]["expired.brief"]) for one in answers}
    assert [one.rpartition("_")[2] for one in variants] == ["brief"]


def test_what_would_go_out_is_seen_before(service: Running) -> None:
    shown = preview(service)
    assert {one["language"] for one in shown["messages"]} == {"en", "de"}
    assert not any(one["problem"] for one in shown["messages"])
    identify(service, "dee", name="Dee")
    service.run("push")
    of_dee = preview(service, user_id="dee", languages=["de"])
    (message,) = of_dee["messages"]
    assert message["subject"].endswith("für Dee")
    assert "trigger.value" in of_dee["assumed"]
    assert service.mails_to("dee") == []
    for asked, status in (
        ({"user_id": "nobody-at-all"}, 404),
        ({"version": 99}, 404),
        ({"draft": True}, 404),
        ({"draft": True, "version": 1}, 422),
        ({"languages": ["German"]}, 422),
    ):
        answer = service.http.post("/v1/playbooks/greet/preview", json=asked)
        assert answer.status_code == status, (asked, answer.text)


def test_a_content_with_a_slip_is_not_imported(service: Running) -> None:
    before = service.http.get("/v1/library/export").json()
    wrong = json.loads(json.dumps(before))
    wrong["contents"][-1]["body"] = "Hello\n{{ user.orders_4v }} {% render 'fot' %}"
    answer = service.http.post("/v1/library/import", json=wrong)
    assert answer.status_code == 422
    told = [one["message"] for one in answer.json()["problems"]]
    assert "line 2, column 4 of the template: there is no user.orders_4v, did you mean 'orders_4w'?" in told
    assert "line 2, column 32 of the template: there is no block 'fot', did you mean 'foot'?" in told
    assert service.http.get("/v1/library/export").json() == before


def test_seeds_get_proofs(service: Running) -> None:
    decisions = service.http.get("/v1/summary").json()
    answer = service.http.post("/v1/playbooks/greet/proof", json={})
    assert answer.status_code == 200, answer.text
    (proof,) = answer.json()["proofs"]
    assert (proof["user_id"], proof["language"], proof["problem"]) == ("seed-ann", "de", "")
    (mail,) = service.mails_to("seed-ann")
    assert "proof greet" in str(mail["Subject"]) or "=?utf-8" in str(mail["Subject"])
    after = service.http.get("/v1/summary").json()
    assert after["changes"].pop("proof") == 1
    assert after == decisions
    refused = service.http.post("/v1/playbooks/greet/proof", json={"variants": ["cofee"]})
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:nextplay:problem:proofs-refused")


def test_test_users_count_for_nothing(service: Running) -> None:
    identify(service, "qa", name="Qa")
    service.order("qa", "COFFEE", days_ago=0.01)
    service.run("push", "triggers", "deliver")
    # Those of what the trigger began, if its draw came to anything.
    sent = len(service.mails_to("qa"))
    before = service.http.get("/v1/summary").json()
    decided = service.acting_decision("qa")
    service.run("deliver")
    assert len(service.mails_to("qa")) == sent + 1
    record = service.http.get(f"/v1/decisions/{decided['decision_id']}").json()
    assert record["test"] is True
    assert service.http.post(f"/v1/decisions/{decided['decision_id']}/replay").json()["identical"] is True
    # Nor does what a flow decides for them.
    while len(service.mails_to("qa")) == sent + 1:
        service.decide("qa", "again")
        service.run("deliver")
    (mail,) = [one for one in service.mails_to("qa") if one["Subject"] == "Code"]
    code, until, day = mail.get_payload(decode=True).decode().split()  # type: ignore[union-attr]
    assert (len(code) > 8, until) == (True, "until")
    assert day == (service.now + timedelta(days=14)).strftime("%Y-%m-%d")
    made = [one["id"] for one in service.history("qa") if one["kind"] == "decision"]
    assert len(made) >= 3
    records = [service.http.get(f"/v1/decisions/{one}").json() for one in made]
    assert all(one["test"] for one in records)
    assert service.http.get("/v1/summary").json() == before
    service.move(timedelta(days=8))
    service.run("reward", "learn")
    rewarded = [one for one in service.history("qa") if one["kind"] == "reward"]
    assert rewarded == []
    assert [one for one in service.history("ann") if one["kind"] == "reward"]


def test_the_same_on_the_command_line(service: Running) -> None:
    key = service.http.headers["Authorization"].removeprefix("Bearer ")

    def run(*arguments: str) -> Result:
        asked = ["--url", str(service.http.base_url), "--key", key]
        return CliRunner().invoke(app, ["playbooks", *arguments, *asked])

    shown = run("preview", "greet", "--user", "ann", "--language", "de")
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith("greet (served) for user ann, language de-AT\n\n")
    assert "für Ann" in shown.output
    # Nobody knows the name of this one.
    assert run("preview", "greet", "--user", "cy").exit_code == 1
    sent = run("proof", "greet", "--json")
    assert sent.exit_code == 0, sent.output
    assert json.loads(sent.output)[0]["user_id"] == "seed-ann"
