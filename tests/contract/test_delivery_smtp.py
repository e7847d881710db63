"""Mails to a real server: TLS, signing in, refusals, unsubscribing, and servers that misbehave."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from delivery.channels.kinds import Opening
from delivery.channels.letters import letter
from delivery.channels.smtp import KIND, Smtp, SmtpSettings
from delivery.errors import NotHandedOver
from delivery.models import Message
from delivery.sandbox.running import TOKEN, Sandbox, running
from delivery.sandbox.taking import Behaviour
from storage.engine import Database
from tests.migrated import copy_migrated

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LINK = "https://shop.example.com/u/a-signed-link"


class Signed:
    """Makes one link, and none for service mails."""

    def unsubscribe(self, message: Message) -> str | None:
        return None if message.subject == "Receipt" else LINK


def mail(
    key: str = "e:1:1", *, to: str = "ann@example.com", subject: str = "Hello", body: str = "Hi"
) -> Message:
    return Message(key, "ann", subject, body, MONDAY, to)


@contextmanager
def opened(database: Database, folder: Path, port: int, **settings: Any) -> Iterator[Smtp]:
    given = {"host": "localhost", "port": port, "tls": "none", "sender": "Shop <news@shop.example.com>"}
    opening = Opening(folder, database, secrets={"smtp": TOKEN, "wrong": "wrong"}, links=Signed())
    channel = KIND.open(SmtpSettings.model_validate(given | settings), "email", opening)
    assert isinstance(channel, Smtp)
    yield channel
    channel.close()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    file = tmp_path_factory.mktemp("db") / "a.db"
    copy_migrated(file)
    one = Database(f"sqlite:///{file}")
    yield one
    one.close()


@pytest.fixture(scope="module")
def plain() -> Iterator[Sandbox]:
    with running() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of this machine with its key, that nobody knows."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_mail_arrives_with_what_it_needs(database: Database, tmp_path: Path, plain: Sandbox) -> None:
    plain.taking.forget()
    text = "Hello\n.\n..and a line with a dot\nPrice: 5 €"
    with opened(database, tmp_path, plain.smtp_port, reply_to="help@shop.example.com") as channel:
        receipt = channel.send(mail(subject="Grüße\r\nBcc: all@example.com", body=text))
        channel.send(mail("e:2:1", subject="Receipt"))
    promotion, service = plain.taking.all()
    assert promotion.to == "ann@example.com"
    assert promotion.text.replace("\r\n", "\n").strip() == text
    assert promotion.subject == "Grüße Bcc: all@example.com"
    head = promotion.headers
    assert head["From"] == "Shop <news@shop.example.com>"
    assert head["Reply-To"] == "help@shop.example.com"
    assert head["To"] == "ann@example.com"
    assert head["Message-ID"] == receipt.reference
    assert receipt.reference.endswith("@shop.example.com>")
    assert head["List-Unsubscribe"] == f"<{LINK}>"
    assert head["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "Bcc" not in head
    assert "List-Unsubscribe" not in service.headers
    assert service.headers["Message-ID"] != head["Message-ID"]


def test_a_page_of_html_comes_with_its_text(database: Database, tmp_path: Path, plain: Sandbox) -> None:
    plain.taking.forget()
    page = (
        "<!doctype html><html><head><style>p {color: red}</style></head><body><p>Grüße &amp; more:<br>a "
        '<a href="https://a.example/b?c=d&amp;e">coupon</a>, <a href="https://a.example">https://a.example</a>'
        "<ul><li>5 €<li>6 €</ul></body></html>"
    )
    with opened(database, tmp_path, plain.smtp_port) as channel:
        channel.send(mail(body=page))
    (taken,) = plain.taking.all()
    assert taken.text.replace("\r\n", "\n") == (
        "Grüße & more:\na coupon (https://a.example/b?c=d&e), https://a.example\n\n5 €\n6 €\n"
    )
    assert taken.headers["Content-Type"].startswith("multipart/alternative")
    both = message_from_bytes(letter(mail(body=page), [("Subject", "x")]), policy=policy.default)
    assert [one.get_content_type() for one in both.walk()][1:] == ["text/plain", "text/html"]
    html = both.get_body(preferencelist=("html",))
    assert html is not None
    assert html.get_content().replace("\r\n", "\n").strip() == page
    assert not any(one.defects for one in both.walk())


def test_connections_are_kept_and_opened_anew_where_they_broke(
    database: Database, tmp_path: Path, plain: Sandbox
) -> None:
    with opened(database, tmp_path, plain.smtp_port) as channel:
        connections = channel._connections
        channel.send(mail())
        (kept,) = connections._idle
        with pytest.raises(NotHandedOver) as caught:
            channel.send(mail(to="nobody@example.com"))
        assert caught.value.permanent
        assert str(caught.value) == "localhost refused the mail: 550 5.1.1"
        channel.send(mail())
        assert connections._idle == [kept]
        assert kept.sock is not None
        kept.sock.shutdown(socket.SHUT_RDWR)
        channel.send(mail())
        assert connections._idle != [kept]


def test_what_the_server_says_decides_whether_it_is_tried_again(
    database: Database, tmp_path: Path, plain: Sandbox
) -> None:
    with opened(database, tmp_path, plain.smtp_port) as channel:
        for status, permanent in ((503, False), (550, True)):
            plain.taking.behave(Behaviour(do="refuse", status=status))
            with pytest.raises(NotHandedOver) as caught:
                channel.send(mail())
            assert (caught.value.permanent, caught.value.perhaps) == (permanent, False)


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
def test_tls_and_signing_in(database: Database, tmp_path: Path, certificate: Path, mode: str) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    login = {"user": "shop", "password": "smtp"} if mode == "starttls" else {}
    with running(tls=tls, starttls=mode == "starttls") as sandbox:
        given: dict[str, Any] = {"tls": mode, **login}
        with opened(database, tmp_path, sandbox.smtp_port, **given) as channel:
            with pytest.raises(NotHandedOver, match="CERTIFICATE_VERIFY_FAILED") as caught:
                channel.send(mail())
            assert not caught.value.permanent
        given["ca_file"] = str(certificate)
        with opened(database, tmp_path, sandbox.smtp_port, **given) as channel:
            channel.send(mail())
        assert len(sandbox.taking.all()) == 1
        if login:
            wrong = {**given, "password": "wrong"}
            with opened(database, tmp_path, sandbox.smtp_port, **wrong) as channel:
                with pytest.raises(NotHandedOver, match="does not know the user or the password") as caught:
                    channel.send(mail())
                assert not caught.value.permanent
            with opened(database, tmp_path, sandbox.smtp_port, tls="none") as channel:
                with pytest.raises(NotHandedOver, match="refused the mail: 530"):
                    channel.send(mail())


def test_a_server_without_starttls_gets_no_mail(database: Database, tmp_path: Path, plain: Sandbox) -> None:
    with opened(database, tmp_path, plain.smtp_port, tls="starttls") as channel:
        with pytest.raises(NotHandedOver, match="STARTTLS"):
            channel.send(mail())


# Servers that misbehave


@contextmanager
def saying(greeting: bytes, forever: bytes = b"", pause: float = 0.0) -> Iterator[int]:
    """A server that says something to whoever connects, and then something else without end."""
    listening = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            try:
                connection.sendall(greeting)
                while forever and not ended.wait(pause):
                    connection.sendall(forever)
                connection.recv(100)
            except OSError:
                return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        ended.set()
        listening.close()
        thread.join(5)


@pytest.mark.parametrize(
    ("greeting", "forever", "pause", "told"),
    [
        (b"554 go away\r\n", b"", 0.0, "554"),
        (b"", b"2", 0.05, "time is up|timed out"),
        (b"", b"220-and another thing\r\n", 0.0, "does not end"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", 0.0, "can't be reached"),
    ],
)
def test_a_server_that_is_none_is_tried_again_in_time(
    database: Database, tmp_path: Path, greeting: bytes, forever: bytes, pause: float, told: str
) -> None:
    with saying(greeting, forever, pause) as port:
        with opened(database, tmp_path, port, seconds=0.4, host="127.0.0.1") as channel:
            with pytest.raises(NotHandedOver, match=told) as caught:
                channel.send(mail())
    assert not caught.value.permanent
    assert not caught.value.perhaps


# Settings


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"sender": "shop"}, "write it like ann@example.com"),
        ({"sender": "a\r\nBcc: b@example.com"}, "write it like news@example.com"),
        ({"user": "shop"}, "`user` and `password` go together"),
        ({"user": "shop", "password": "smtp", "tls": "none"}, "a password in the clear is nobody's secret"),
        ({"tls": "ssl"}, "'starttls', 'implicit' or 'none'"),
        ({"host": "mail example"}, "pattern"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], told: str) -> None:
    given = {"host": "mail.example.com", "sender": "news@example.com"}
    with pytest.raises(ValidationError, match=told):
        SmtpSettings.model_validate(given | settings)
