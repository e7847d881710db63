"""Every kind of channel against a provider that speaks the real protocol: the sandbox, or this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

from audiences.identity.people import EveryoneAlone
from delivery.channels.channel import Address, AfterCrash, Channel, close_channels
from delivery.channels.kinds import Opening
from delivery.channels.registry import KINDS
from delivery.errors import NotHandedOver
from delivery.inbox.service import Inbox
from delivery.models import Message
from delivery.sandbox.running import SECRET, TOKEN, Sandbox, running
from delivery.sandbox.taking import Behaviour, Taken
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.errors import ConfigurationError

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SID = "AC" + "0" * 32
ADDRESSES = {
    Address.NONE: "",
    Address.EMAIL: "ann@example.com",
    Address.PHONE: "+4915112345678",
    Address.DEVICE: "a-device",
}
REQUEST = {"to": "{address}", "text": "{body}", "title": "{subject}"}
ANSWER = {"id": "id", "error": "error"}
ANSWERING = ("push_gateway", "sms_gateway", "twilio")
OVER_HTTP = (*ANSWERING, "webhook")
PROVIDERS = (*OVER_HTTP, "smtp")


def settings_of(kind: str, sandbox: Sandbox) -> Mapping[str, Any]:
    gateway = {"request": REQUEST, "answer": ANSWER, "auth": {"bearer": "token"}, "seconds": 0.5}
    all_: dict[str, Mapping[str, Any]] = {
        "inbox": {"expires_after": "P1D"},
        "mailbox": {},
        "push_gateway": {**gateway, "url": f"{sandbox.url}/push/messages"},
        "sms_gateway": {**gateway, "url": f"{sandbox.url}/sms/messages"},
        "smtp": {
            "host": "127.0.0.1",
            "port": sandbox.smtp_port,
            "tls": "none",
            "sender": "Shop <shop@example.com>",
            "seconds": 0.5,
        },
        "twilio": {
            "url": sandbox.url,
            "account_sid": SID,
            "auth_token": "token",
            "sender": "+4915100000000",
            "status_callback": "https://shop.example.com/receipts",
            "seconds": 0.5,
        },
        "webhook": {
            "url": f"{sandbox.url}/webhooks",
            "secret": "signing",
            "networks": ["127.0.0.0/8"],
            "seconds": 0.5,
        },
    }
    return all_[kind]


@dataclass
class Opened:
    """A channel, and what its provider has taken."""

    channel: Channel
    sandbox: Sandbox
    texts: Callable[[], Sequence[str]]

    def message(self, key: str = "e:1:1", text: str = "Your coupon: X9") -> Message:
        address = ADDRESSES[self.channel.address]
        return Message(key, "ann", "A coupon", text, MONDAY, address)

    def taken(self) -> list[Taken]:
        return self.sandbox.taking.all()


@pytest.fixture(scope="module")
def provider() -> Iterator[Sandbox]:
    with running() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(provider: Sandbox) -> Sandbox:
    provider.taking.forget()
    return provider


class Open(Protocol):
    def __call__(self, kind: str, at: Sandbox | None = None) -> Opened: ...


@pytest.fixture
def open_(sandbox: Sandbox, database: Database, clock: SimulatedClock, tmp_path: Path) -> Iterator[Open]:
    """Opens a channel by its kind; kinds that keep messages in the database do so in both."""

    def open_kind(kind: str, at: Sandbox | None = None) -> Opened:
        opening = Opening(tmp_path, database, clock, {"token": TOKEN, "signing": SECRET})
        found = KINDS[kind]
        channel = found.open(found.settings.model_validate(settings_of(kind, at or sandbox)), kind, opening)

        def texts() -> Sequence[str]:
            if kind == "mailbox":
                files = sorted((tmp_path / kind).rglob("*.eml"))
                return [file.read_text().partition("\n\n")[2] for file in files]
            if kind == "inbox":
                page, _ = Inbox(database, clock, EveryoneAlone()).of("ann", unread=True, after=None, limit=9)
                return [one.body for one in page]
            return [one.text for one in sandbox.taking.all()]

        opened[kind] = channel
        return Opened(channel, sandbox, texts)

    opened: dict[str, Channel] = {}
    yield open_kind
    close_channels(opened)


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Most kinds keep nothing in the database."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_channel_hands_over_and_says_what_it_does_after_a_crash(kind: str, open_: Open) -> None:
    opened = open_(kind)
    first = opened.channel.send(opened.message("e:1:1"))
    other = opened.channel.send(opened.message("e:2:1"))
    assert first.reference
    assert first.reference != other.reference
    assert [text.strip() for text in opened.texts()] == ["Your coupon: X9"] * 2
    again = opened.channel.send(opened.message("e:1:1"))
    if opened.channel.after_crash is AfterCrash.REPEAT:
        assert again == first
        assert len(opened.texts()) == 2
    else:
        assert len(opened.texts()) == 3
    assert (opened.channel.retry.delay("k", 1) or timedelta(0)) > timedelta(0)


@pytest.mark.parametrize("kind", PROVIDERS)
def test_what_a_provider_refuses_for_now_is_tried_again(kind: str, open_: Open) -> None:
    opened = open_(kind)
    opened.sandbox.taking.behave(Behaviour(do="refuse", status=503, retry_after=90))
    with pytest.raises(NotHandedOver) as caught:
        opened.channel.send(opened.message())
    assert not caught.value.permanent
    assert not caught.value.perhaps
    assert caught.value.after == (timedelta(seconds=90) if kind in OVER_HTTP else None)
    assert opened.taken() == []
    opened.channel.send(opened.message())
    assert len(opened.taken()) == 1


@pytest.mark.parametrize("kind", PROVIDERS)
def test_what_a_provider_refuses_for_good_is_not(kind: str, open_: Open) -> None:
    opened = open_(kind)
    opened.sandbox.taking.behave(Behaviour(do="refuse", status=400 if kind in OVER_HTTP else 550))
    with pytest.raises(NotHandedOver) as caught:
        opened.channel.send(opened.message())
    assert caught.value.permanent
    assert not caught.value.perhaps
    opened.channel.send(opened.message())
    assert len(opened.taken()) == 1


@pytest.mark.parametrize("kind", PROVIDERS)
def test_an_answer_that_takes_too_long_leaves_it_open(kind: str, open_: Open) -> None:
    opened = open_(kind)
    opened.sandbox.taking.behave(Behaviour(do="slow", seconds=2))
    with pytest.raises(NotHandedOver, match=r"not within 0\.5 s") as caught:
        opened.channel.send(opened.message())
    assert caught.value.perhaps
    assert not caught.value.permanent
    assert len(opened.taken()) == 1


@pytest.mark.parametrize("kind", ANSWERING)
@pytest.mark.parametrize(
    ("do", "told"),
    [
        ("empty", "with nothing, so it is not known"),
        ("malformed", "with no `"),
        ("endless", "with no end, so it is not known"),
        ("drip", r"not within 0\.5 s"),
    ],
)
def test_an_answer_that_says_nothing_leaves_it_open(kind: str, do: Any, told: str, open_: Open) -> None:
    opened = open_(kind)
    opened.sandbox.taking.behave(Behaviour(do=do))
    with pytest.raises(NotHandedOver, match=told) as caught:
        opened.channel.send(opened.message())
    assert caught.value.perhaps
    assert not caught.value.permanent
    # The next one has a connection that is in order.
    assert opened.channel.send(opened.message("e:2:1")).reference


@pytest.mark.parametrize("kind", ANSWERING)
def test_an_error_that_is_called_a_success_is_an_error(kind: str, open_: Open) -> None:
    opened = open_(kind)
    opened.sandbox.taking.behave(Behaviour(do="lie"))
    with pytest.raises(
        NotHandedOver, match=r"answered 20\d and refused it: (no credit|error 30005)"
    ) as caught:
        opened.channel.send(opened.message())
    assert caught.value.permanent
    assert opened.taken() == []


@pytest.mark.parametrize("kind", OVER_HTTP)
def test_a_redirect_is_not_followed(kind: str, open_: Open) -> None:
    opened = open_(kind)
    opened.sandbox.taking.behave(Behaviour(do="refuse", status=307))
    with pytest.raises(NotHandedOver, match=r"answered 307.*redirects are not followed") as caught:
        opened.channel.send(opened.message())
    assert caught.value.permanent


@pytest.mark.parametrize("kind", PROVIDERS)
def test_a_provider_that_is_not_there_is_tried_again(kind: str, open_: Open) -> None:
    with running() as gone:
        opened = open_(kind, gone)
    with pytest.raises(NotHandedOver, match="can't be reached") as caught:
        opened.channel.send(opened.message())
    assert not caught.value.permanent
    assert not caught.value.perhaps


@pytest.mark.parametrize("status", [500, 502, 504])
def test_what_stands_before_a_provider_does_not_know_whether_it_took_it(status: int, open_: Open) -> None:
    opened = open_("twilio")
    opened.sandbox.taking.behave(Behaviour(do="refuse", status=status))
    with pytest.raises(NotHandedOver) as caught:
        opened.channel.send(opened.message())
    assert caught.value.perhaps


def test_a_webhook_that_leads_into_a_private_network_is_refused_unless_it_is_allowed(
    sandbox: Sandbox, database: Database, tmp_path: Path
) -> None:
    opening = Opening(tmp_path, database, secrets={"signing": SECRET, "weak": "sandbox"})
    found = KINDS["webhook"]
    settings = {"url": f"{sandbox.url}/webhooks", "secret": "signing"}
    message = Message("e:1:1", "ann", "A coupon", "X9", MONDAY)
    closed = found.open(found.settings.model_validate(settings), "chat", opening)
    with pytest.raises(NotHandedOver, match="`networks` of the channel allows some") as caught:
        closed.send(message)
    assert caught.value.permanent
    assert sandbox.taking.all() == []
    close_channels({"chat": closed})
    with pytest.raises(ConfigurationError, match="the secret 'weak' can't sign"):
        found.open(found.settings.model_validate(settings | {"secret": "weak"}), "chat", opening)


def test_what_a_webhook_tells_is_signed_and_says_which_message_it_is(open_: Open) -> None:
    opened = open_("webhook")
    opened.channel.send(opened.message("e:1:1", "Hi Ann"))
    (one,) = opened.taken()
    assert (one.protocol, one.to, one.key, one.subject, one.text) == (
        "webhook",
        "ann",
        "e:1:1",
        "A coupon",
        "Hi Ann",
    )
