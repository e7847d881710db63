"""Requests to other systems: which addresses they may go to, and settings of those who are asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from delivery.channels.gateway import GatewaySettings
from delivery.channels.http import Http, NotReached
from delivery.channels.networks import allows
from delivery.channels.twilio import TwilioSettings
from delivery.channels.webhook import Webhooks
from delivery.errors import NotHandedOver
from delivery.models import Message

SECRET = "whsec_" + "MDEyMzQ1Njc4OWFiY2RlZg=="
NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.9",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:10.1.2.3",
        "64:ff9b::a01:203",
        "2002:a01:203::1",
    ],
)
def test_what_is_not_of_the_public_internet_is_refused(address: str) -> None:
    assert not allows([], address)


@given(st.ip_addresses(v=4, network="8.0.0.0/8"))
def test_public_addresses_are_allowed(address: Any) -> None:
    assert allows([], str(address))


def test_networks_that_are_allowed_are() -> None:
    networks = [ip_network("10.1.0.0/16"), ip_network("fd00::/8")]
    assert allows(networks, "10.1.2.3")
    assert allows(networks, "::ffff:10.1.2.3")
    assert allows(networks, "fd00::1")
    assert not allows(networks, "10.2.0.1")


def told(url: str, channel: Webhooks) -> NotHandedOver:
    with pytest.raises(NotHandedOver) as caught:
        channel.send(Message("k", "ann", "", "{}", NOW, url))
    return caught.value


@contextmanager
def listening() -> Iterator[tuple[int, list[bytes]]]:
    """A receiver on this machine that takes one request."""
    server = socket.create_server(("127.0.0.1", 0))
    got: list[bytes] = []

    def serve() -> None:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            got.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1], got
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "127.1"]
)
def test_a_webhook_never_goes_inside(host: str) -> None:
    channel = Webhooks(SECRET)
    with listening() as (port, got):
        error = told(f"http://{host}:{port}/hook", channel)
    assert error.permanent
    assert "is inside a private network" in str(error)
    assert "NEXTPLAY_WEBHOOK_NETWORKS" in str(error)
    assert got == []
    channel.close()


def test_a_name_is_looked_up_once_and_what_was_looked_up_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that is public when it is checked and private when it is connected to (DNS rebinding)."""
    answers = iter([["93.184.215.14"], ["127.0.0.1"]])
    connected: list[str] = []

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        if host[0].isdigit():
            connected.append(host)
            raise OSError("nobody is there")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in next(answers)]

    def connect(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        connected.append(address[0])
        raise OSError("nobody is there")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", connect)
    channel = Webhooks(SECRET)
    assert not told("https://rebinds.example.com/hook", channel).permanent
    assert connected == ["93.184.215.14"]
    assert told("https://rebinds.example.com/hook", channel).permanent
    assert connected == ["93.184.215.14"]


def test_a_webhook_goes_inside_where_that_is_allowed() -> None:
    channel = Webhooks(SECRET, [ip_network("127.0.0.0/8")])
    with listening() as (port, got):
        receipt = channel.send(Message("k", "ann", "", "{}", NOW, f"http://127.0.0.1:{port}/hook?a=b"))
        assert receipt.reference == "HTTP 204"
    assert got[0].startswith(b"POST /hook?a=b HTTP/1.1\r\n")
    assert f"host: 127.0.0.1:{port}".encode() in got[0].lower()
    channel.close()


def test_what_is_no_url_is_told() -> None:
    with pytest.raises(NotReached, match="is no URL"):
        Http().post("http://[::1", b"", {})


# Settings

REQUEST = {"to": "{address}", "text": "{body}"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "sms.example.com"}, "write a whole URL"),
        ({"url": "http://sms.example.com/"}, "what is told of users goes over https"),
        ({"url": "https://a:b@sms.example.com/"}, "credentials are not part of the URL"),
        (
            {"request": {"to": "{adress}", "text": "{body}"}},
            "a message has no 'adress', did you mean 'address'",
        ),
        ({"request": {"to": "{address}"}}, r"\{body\} is nowhere in it"),
        ({"request": {"text": ["{body}"]}}, r"\{address\} is nowhere in it"),
        ({"answer": {"id": "a..b"}}, "is no JMESPath"),
        ({"headers": {"X-A": "a\r\nb: c"}}, "pattern"),
        ({"headers": {"X A": "a"}}, "pattern"),
        ({"auth": {"bearer": "the token itself!"}}, "pattern"),
        ({"seconds": 0}, "greater than or equal"),
    ],
)
def test_settings_of_gateways_that_make_no_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    given = {"url": "https://sms.example.com/v1", "request": REQUEST}
    assert GatewaySettings.model_validate(given).key_header == "Idempotency-Key"
    with pytest.raises(ValidationError, match=said):
        GatewaySettings.model_validate(given | settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sender": None}, "either `sender` or `messaging_service_sid`"),
        ({"messaging_service_sid": "MG" + "0" * 32}, "either `sender` or `messaging_service_sid`"),
        ({"account_sid": "me"}, "pattern"),
        ({"sender": "+0123"}, "pattern"),
    ],
)
def test_settings_of_twilio_that_make_no_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    given = {"account_sid": "AC" + "0" * 32, "auth_token": "twilio", "sender": "+4915100000000"}
    TwilioSettings.model_validate(given)
    with pytest.raises(ValidationError, match=said):
        TwilioSettings.model_validate(given | settings)
