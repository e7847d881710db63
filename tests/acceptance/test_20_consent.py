"""Story 20: an opt-out holds at once, also for what is queued; a mail scanner's click is nobody's."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx2
import pytest
import yaml
from msgspec import structs
from standardwebhooks.webhooks import Webhook

from audiences.consent.address_hash import AddressHash
from audiences.consent.models import Channel
from decision.demo.run import LIBRARY
from delivery.links.links import SignedLinks
from delivery.links.signing import Signer
from delivery.models import Message
from playbooks.content.filling import Text
from tests.acceptance.conftest import START
from tests.acceptance.driver import Running
from tests.launching import running_service

PUBLIC, SHOP = "https://m.example.com", "https://shop.example/coffee?a=1"
SECRET, TOKEN = "whsec_" + base64.b64encode(b"s" * 24).decode(), "twilio-token"
PEOPLE, SCANNER = "Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0", "Barracuda Sentinel (EE)"
SETTINGS = f"""NEXTPLAY_PUBLIC_URL={PUBLIC}
NEXTPLAY_WEBHOOK_SECRETS={json.dumps({"mailbox": [SECRET]})}
NEXTPLAY_TWILIO_TOKENS={json.dumps({"sms": [TOKEN]})}
NEXTPLAY_CHANNEL_SECRETS={json.dumps({"carrier": "x"})}
"""
CHANNELS = """
channels:
  - {id: mailbox, kind: mailbox}
  - id: sms
    kind: sms_gateway
    settings:
      url: http://127.0.0.1:9/
      auth: {bearer: carrier}
      request: {to: "{address}", text: "{body}"}
"""
SCORES = """
scores:
  - {id: lead, name: Lead, half_life: P30D, points: [{id: clicked, event: email_link_clicked, points: 10}]}
"""
FLOW = {
    "start": "tell",
    "states": {"tell": {"kind": "send", "next": "done"}, "done": {"kind": "end", "result": "sent"}},
}
BODY = f"See {SHOP} and https://shop.example/tea.\n\nWhat we may send you: {{{{ links.preferences }}}}\n"


def playbook(id_: str, purpose: str, placement: str) -> str:
    return yaml.safe_dump(
        {
            "id": id_,
            "name": id_.replace("_", " ").capitalize(),
            "purpose": purpose,
            "placement": placement,
            "goal": {"event": "order_completed", "window": "P14D", "value": 1},
            "variants": [{"offer": "milk_by_products", "channel": "mailbox", "content": "offer_notice"}],
            "flow": FLOW,
        }
    )


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("consent")
    library = data / "library"
    shutil.copytree(LIBRARY, library)
    for path in (library / "playbooks").glob("*.yaml"):
        path.unlink()
    for id_, purpose in (
        ("coffee_week", "promotional"),
        ("care_tips", "service"),
        ("invoice", "transactional"),
    ):
        (library / "playbooks" / f"{id_}.yaml").write_text(playbook(id_, purpose, purpose))
    policy = yaml.safe_load((library / "policy.yaml").read_text())
    policy |= {"placements": ["promotional", "service", "transactional"], "prior": {"intercept": 5}}
    (library / "policy.yaml").write_text(yaml.safe_dump(policy))
    notice = [{"id": "offer_notice", "subject": "For you", "body": BODY}]
    (library / "contents.yaml").write_text(yaml.safe_dump(notice))
    (library / "channels.yaml").write_text(CHANNELS)
    (library / "scores.yaml").write_text(SCORES)
    (data / "settings.env").write_text(SETTINGS)
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)


@pytest.fixture
def user(service: Running) -> str:
    """Somebody who bought something, and is in the house."""
    name = f"user-{uuid4().hex[:12]}"
    service.order(name, "COFFEE", days_ago=3)
    service.run("push", "features", "audiences")
    return name


def queue(service: Running, user: str, *purposes: str) -> None:
    """Decide for a user, so that messages are queued and have not gone out."""
    for purpose in purposes:
        for _ in range(20):
            if service.decide(user, purpose).json()["offer"]:
                break
        else:
            raise AssertionError(service.decide(user, purpose).text)


def mails(service: Running, user: str) -> list[str]:
    service.run("deliver")
    found = [mail.get_payload(decode=True).decode() for mail in service.mails_to(user)]  # type: ignore[union-attr]
    return [str(text).replace("\r\n", "\n") for text in found]


def links(text: str, kind: str) -> list[str]:
    return [str(one) for one in re.findall(rf"{PUBLIC}(/{kind}/[\w-]+)", text)]


def visit(service: Running, path: str, agent: str = PEOPLE, **headers: str) -> httpx2.Response:
    """Open a link as whoever got it does: without a key."""
    return httpx2.get(f"{service.http.base_url}".rstrip("/") + path, headers={"user-agent": agent, **headers})


def post(service: Running, path: str, fields: Mapping[str, Any], **headers: str) -> httpx2.Response:
    url = f"{service.http.base_url}".rstrip("/") + path
    kind = {"content-type": "application/x-www-form-urlencoded", **headers}
    return httpx2.post(url, content=urlencode(fields, doseq=True).encode(), headers=kind)


def states(service: Running, user: str, kind: str = "message") -> list[str]:
    return [one["label"] for one in service.history(user) if one["kind"] == kind]


def test_an_opt_out_on_the_page_holds_for_what_is_queued_and_an_invoice_still_comes(
    service: Running, user: str
) -> None:
    queue(service, user, "promotional")
    (first,) = mails(service, user)
    (page,) = links(first, "p")
    shown = visit(service, page, accept="text/html")
    assert shown.status_code == 200
    assert "frame-ancestors 'none'" in shown.headers["content-security-policy"]
    assert shown.text.count("checked") == 4  # offers and service messages, by e-mail and by text message
    assert "Coffee week" in shown.text
    assert "It is a promotion." in shown.text
    # Looking changes nothing, whoever looks.
    visit(service, page, SCANNER)
    assert states(service, user, "consent") == []
    queue(service, user, "promotional", "service", "transactional")
    wanted = ["service:email", "service:sms", "promotional:sms"]
    saved = post(service, page, {"do": "save", "want": wanted})
    assert (saved.status_code, saved.headers["location"]) == (303, f"{page.rpartition('/')[2]}?done=save")
    assert len(mails(service, user)) == 3
    suppressed = [one for one in service.history(user) if one["kind"] == "suppression"]
    assert [one["label"] for one in suppressed] == ["opted_out"]
    (said,) = service.http.get(f"/v1/users/{user}/consents").json()["consents"]
    assert (said["purpose"], said["channel"], said["state"]) == ("promotional", "email", "denied")
    assert (said["source"], said["wording"]["id"]) == ("preference_page", "preference_page")
    service.move(timedelta(minutes=1))
    # No more of one thing leaves the others of its purpose; all can be had again.
    post(service, page, {"do": "save", "want": [*wanted, "promotional:email"]})
    assert post(service, page, {"do": "none", "playbook": "care_tips"}).status_code == 303
    queue(service, user, "promotional", "service")
    assert len(mails(service, user)) == 4
    assert "no_more_of_this" in states(service, user, "suppression")
    service.move(timedelta(minutes=1))
    post(service, page, {"do": "again", "playbook": "care_tips"})
    queue(service, user, "service")
    assert len(mails(service, user)) == 5


def test_what_makes_no_sense_is_refused_and_changes_nothing(service: Running, user: str) -> None:
    queue(service, user, "promotional")
    (mail,) = mails(service, user)
    (page,) = links(mail, "p")
    for fields, said in (
        ({}, "use the buttons"),
        ({"do": "save", "want": "promotional:fax"}, "nothing is called 'promotional:fax'"),
        ({"do": "save", "want": "promotion:email"}, "did you mean 'promotional:email'?"),
        ({"do": "less", "playbook": "invoice"}, "nothing of 'invoice' was sent lately"),
    ):
        refused = post(service, page, fields)
        assert (refused.status_code, refused.json()["title"]) == (422, "preferences unfit")
        assert said in refused.json()["detail"]
    # A part of a link, one that somebody changed, and one of another kind.
    for path in (
        page[:-2],
        page[:-1] + ("A" if page[-1] != "A" else "B"),
        links(mail, "t")[0].replace("/t/", "/p/"),
    ):
        broken = visit(service, path, accept="text/html")
        assert (broken.status_code, "This did not work" in broken.text) == (404, True)
    assert post(service, page, {"do": "save", "want": "x" * 20_000}).status_code == 413
    assert states(service, user, "consent") == []
    service.move(timedelta(days=31))
    assert visit(service, page).status_code == 410
    # Who is erased has no page any more, and is not brought back by it; a link of the shop leads on.
    queue(service, user, "promotional")
    (later,) = set(mails(service, user)) - {mail}
    (page,) = links(later, "p")
    assert visit(service, page).status_code == 200
    assert service.http.delete(f"/v1/users/{user}").status_code == 200
    assert visit(service, page).status_code == 410
    assert post(service, page, {"do": "nothing"}).status_code == 410
    assert service.http.get(f"/v1/users/{user}").status_code == 404
    assert visit(service, links(later, "t")[0]).headers["location"] == SHOP


def test_links_lead_only_where_they_were_made_for_and_a_scanners_click_is_nobodys(
    service: Running, user: str
) -> None:
    queue(service, user, "promotional")
    (mail,) = mails(service, user)
    first, second = links(mail, "t")
    service.move(timedelta(seconds=2))
    for path, agent in ((first, SCANNER), (second, SCANNER)):
        followed = visit(service, path, agent)
        assert followed.status_code == 302
    assert visit(service, first).headers["location"] == SHOP
    assert visit(service, first + "?to=https://evil.example").headers["location"] == SHOP
    assert visit(service, first[:-1]).status_code == 404
    # Somebody clicks; with scanners about that is held until it is known that nobody clicked everything.
    service.run("machines", "scores", "receipts")
    assert score(service, user) == 0
    assert "clicked" not in states(service, user)
    service.move(timedelta(minutes=5))
    service.run("machines", "scores", "receipts")
    assert score(service, user) == pytest.approx(20, abs=0.01)
    assert states(service, user).count("clicked") == 1
    assert states(service, user, "machine_event").count("email_link_clicked") >= 2
    assert states(service, user, "consent") == []


def score(service: Running, user: str) -> float:
    answer = service.http.get(f"/v1/users/{user}/scores/lead")
    return float(answer.json()["value"]) if answer.status_code == 200 else 0.0


def signed(
    service: Running,
    body: Any,
    webhook_id: str = "",
    secret: str = SECRET,
    *,
    ago: timedelta = timedelta(0),
    sent: str = "",
) -> httpx2.Response:
    """Send receipts as a provider does; `sent` instead of what was signed, which was some time `ago`."""
    text, now = json.dumps(body), datetime.now(UTC) - ago
    webhook_id = webhook_id or f"wh-{uuid4()}"
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, now, text),
    }
    url = f"{service.http.base_url}".rstrip("/") + "/v1/receipts/mailbox"
    return httpx2.post(url, content=(sent or text).encode(), headers=headers)


def test_providers_tell_by_signed_receipts_that_count_once(service: Running, user: str) -> None:
    service.identify(user, email=f"{user}@example.com")
    queue(service, user, "promotional")
    mails(service, user)
    (sent,) = [one for one in service.history(user) if one["kind"] == "message" and one["label"] == "sent"]
    key = sent["id"].removesuffix(":sent")
    complaint = {"type": "complained", "id": f"c-{user}", "message_id": key, "address": f"{user}@example.com"}
    forged = signed(service, complaint, secret="whsec_" + base64.b64encode(b"f" * 24).decode())
    assert (forged.status_code, forged.json()["title"]) == (401, "webhook refused")
    # What somebody recorded on the way is no good later, nor changed.
    assert signed(service, complaint, ago=timedelta(minutes=6)).status_code == 401
    assert signed(service, complaint, sent=json.dumps({**complaint, "type": "opened"})).status_code == 401
    assert "complained" not in states(service, user)
    for outcome in ("recorded", "duplicate"):
        told = signed(service, complaint)
        assert (told.status_code, told.json()["receipts"][0]["outcome"]) == (200, outcome)
    unknown = signed(service, {"receipts": [complaint, {"type": "opened", "id": "?", "message_id": "no"}]})
    assert (unknown.status_code, unknown.json()["receipts"][1]["outcome"]) == (202, "quarantined")
    waiting = service.http.get("/v1/receipts/mailbox/waiting").json()["waiting"]
    assert [one["event_id"] for one in waiting] == ["?"]
    assert service.http.post("/v1/receipts/mailbox/replay").json()["quarantined"] == 1
    assert states(service, user)[0] == "complained"
    assert "email_complained" in states(service, user, "event")
    queue(service, user, "promotional", "transactional")
    assert len(mails(service, user)) == 2
    assert states(service, user, "suppression") == ["suppressed.complained"]


def test_one_click_in_a_mail_program_ends_such_mails_and_looking_does_not(
    service: Running, user: str
) -> None:
    queue(service, user, "promotional")
    mails(service, user)
    (sent,) = [one for one in service.history(user) if one["kind"] == "message" and one["label"] == "sent"]
    message = Message(sent["id"].removesuffix(":sent"), user, "", "", service.now)
    key = bytes.fromhex((service.data / "address.key").read_text())
    made = SignedLinks(PUBLIC, Signer(AddressHash(key).derive("links")))
    assert made.unsubscribe(structs.replace(message, transactional=True)) is None
    # The picture by which a page of HTML tells that it was opened.
    service.move(timedelta(minutes=1))
    pixel = made.dressed(message.key, Channel.EMAIL, Text("", "<html>")).body.partition(PUBLIC)[2]
    seen = visit(service, pixel.partition('"')[0])
    assert (seen.headers["content-type"], seen.content[:6]) == ("image/gif", b"GIF89a")
    service.run("receipts")
    assert states(service, user)[0] == "opened"
    path = (made.unsubscribe(message) or "").removeprefix(PUBLIC)
    assert "Do you want no more offers and news by e-mail?" in visit(service, path).text
    assert post(service, path, {"List-Unsubscribe": "Maybe"}).status_code == 422
    queue(service, user, "promotional", "service")
    assert states(service, user, "consent") == []
    ended = post(service, path, {"List-Unsubscribe": "One-Click"})
    assert "We send you no more offers and news by e-mail." in ended.text
    assert states(service, user, "consent") == ["denied"]
    assert len(mails(service, user)) == 2
    assert states(service, user, "suppression") == ["opted_out"]
    assert "unsubscribed" in states(service, user)
    (said,) = service.http.get(f"/v1/users/{user}/consents").json()["consents"]
    assert (said["purpose"], said["channel"], said["source"]) == ("promotional", "email", "one_click")


def test_the_commands_of_the_how_to_do_what_it_says(service: Running) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "consent.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```sh\n(.*?)```", page, re.S) if block.startswith("curl")]
    asked, listed = (shlex.split(block.replace("\\\n", " ")) for block in blocks)
    (path,) = (one.removeprefix("http://127.0.0.1:8321") for one in asked if one.startswith("http:"))
    assert service.http.get(path).json()["consents"] == []
    (path,) = (one.removeprefix("http://127.0.0.1:8321") for one in listed if one.startswith("http:"))
    assert service.http.post(path, json=json.loads(listed[-1])).json() == {"recorded": 1}


def test_stop_by_text_message_ends_text_messages_at_once(service: Running, user: str) -> None:
    phone = f"+49151{int(uuid4()) % 10**8:08d}"
    service.identify(user, phone=phone)
    fields = {
        "MessageSid": f"SM{user}",
        "SmsStatus": "received",
        "From": phone,
        "To": "+4930",
        "Body": "Stop",
    }
    text = f"{PUBLIC}/v1/receipts/sms" + "".join(name + fields[name] for name in sorted(fields))
    mac = hmac.new(TOKEN.encode(), text.encode(), hashlib.sha1).digest()
    signature = {"x-twilio-signature": base64.b64encode(mac).decode()}
    assert post(service, "/v1/receipts/sms", fields | {"Body": "Go on"}, **signature).status_code == 401
    for _ in range(2):
        answer = post(service, "/v1/receipts/sms", fields, **signature)
        assert (answer.status_code, answer.text) == (200, "<Response/>")
    said = service.http.get(f"/v1/users/{user}/consents").json()
    assert [(one["purpose"], one["channel"], one["state"]) for one in said["consents"]] == [
        ("any", "sms", "denied")
    ]
    assert len(said["history"]) == 1
    assert "sms_unsubscribed" in states(service, user, "event")


def test_less_of_this_halves_what_comes_and_says_so(service: Running, user: str) -> None:
    for _ in range(2):
        queue(service, user, "promotional")
        mails(service, user)
        service.move(timedelta(minutes=1))
    page = links(mails(service, user)[0], "p")[0]
    assert post(service, page, {"do": "less", "playbook": "coffee_week"}).status_code == 303
    shown = visit(service, page, accept="text/html").text
    assert shown.count("(at most 1 in four weeks, as you asked)") == 2  # of offers by e-mail, and of this one
    assert "You asked for fewer of these" in shown
    queue(service, user, "promotional", "service")
    assert len(mails(service, user)) == 3
    (stopped,) = [one for one in service.history(user) if one["kind"] == "suppression"]
    assert stopped["label"] == "less_of_this"
    explained = service.http.get(f"/v1/decisions/{stopped['body']['decision']}/explain").json()
    assert explained["stopped_sends"] == {"less_of_this": [stopped["body"]["message"]]}
    service.move(timedelta(minutes=1))
    post(service, page, {"do": "usual", "playbook": "coffee_week"})
    queue(service, user, "promotional")
    assert len(mails(service, user)) == 4
