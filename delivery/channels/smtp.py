"""E-mail by SMTP (RFC 5321), with one-click unsubscription (RFC 8058).

SMTP knows no idempotency keys. The Message-ID is made of the message's key and the same at every attempt, but
servers need not look at it: whatever leaves it open whether a mail was taken is not tried again.
"""

from __future__ import annotations

import re
from email.headerregistry import Address as EmailAddress
from email.utils import parseaddr
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from audiences.addresses import normal_email
from audiences.consent.models import Channel as Consent
from audiences.errors import AddressUnfit
from delivery.channels.channel import Address, AfterCrash, Receipt
from delivery.channels.kinds import Kind, Opening
from delivery.channels.letters import letter, message_id, unstructured
from delivery.channels.signing_in import SecretName
from delivery.channels.smtp_connections import Connections, Login
from delivery.errors import NotHandedOver
from delivery.models import Message
from delivery.retry import Retry
from playbooks.document import Document

_PORTS: Final = {"starttls": 587, "implicit": 465, "none": 25}
# RFC 8058, section 3.1: the link stands in a header, between angle brackets.
_LINK = re.compile(r"https://[\x21-\x3b\x3d\x3f-\x7e]{1,1000}")


def _is_sender(value: str) -> str:
    _, address = parseaddr(value)
    if not address or re.search(r"[\x00-\x1f\x7f]", value):
        raise ValueError("write it like news@example.com or Shop <news@example.com>")
    try:
        normal_email(address)
    except AddressUnfit as error:
        raise ValueError(str(error)) from error
    if not address.isascii():
        raise ValueError("the address has to be plain ASCII")
    return value


Sender = Annotated[str, Field(min_length=3, max_length=300), AfterValidator(_is_sender)]


class SmtpSettings(Document):
    """A mail server and from whom mails come.

    `tls`: `starttls` asks for it and goes no further without it, `implicit` speaks it from the first byte,
    `none` sends everything in the clear. `sender` is the header From, and the envelope's too unless
    `bounces_to` says to whom undeliverable ones go back.
    """

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    ca_file: str | None = None
    user: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")] | None = None
    password: SecretName | None = None
    sender: Sender
    reply_to: Sender | None = None
    bounces_to: Sender | None = None
    seconds: float = Field(default=30, ge=0.1, le=300)

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("`user` and `password` go together")
        if self.user is not None and self.tls == "none":
            raise ValueError("a password in the clear is nobody's secret: set `tls`")
        return self


class Smtp:
    """Hands mails to one server, over connections that are kept."""

    address = Address.EMAIL
    consent = Consent.EMAIL
    after_crash = AfterCrash.UNKNOWN
    retry = Retry()

    def __init__(self, settings: SmtpSettings, opening: Opening) -> None:
        self._links = opening.links
        self._from = _mailbox(settings.sender)
        self._reply_to = None if settings.reply_to is None else _mailbox(settings.reply_to)
        own = parseaddr(settings.sender)[1]
        self._envelope = parseaddr(settings.bounces_to or settings.sender)[1]
        self._domain = own.rpartition("@")[2]
        login = None
        if settings.user is not None and settings.password is not None:
            login = Login(settings.user, opening.secret(settings.password))
        self._connections = Connections(
            settings.host,
            settings.port or _PORTS[settings.tls],
            settings.tls,
            login,
            name=self._domain,
            seconds=settings.seconds,
            ca_file=settings.ca_file,
        )

    def send(self, message: Message) -> Receipt:
        """Hand a mail over; its reference is its Message-ID.

        Raises:
            NotHandedOver: permanent for what the server refuses with 5yz, to be tried again with 4yz.
        """
        to = message.address
        try:
            to.encode("utf-8")
        except UnicodeEncodeError as error:
            raise NotHandedOver("the address can't be written", permanent=True) from error
        identity = message_id(message.key, self._domain)
        self._connections.send(self._envelope, to, self._letter(message, identity))
        return Receipt(identity)

    def close(self) -> None:
        """Let go of connections."""
        self._connections.close()

    def _letter(self, message: Message, identity: str) -> bytes:
        headers = [("From", self._from)]
        if self._reply_to is not None:
            headers.append(("Reply-To", self._reply_to))
        headers += [
            ("To", f"<{message.address}>"),
            ("Subject", unstructured(message.subject)),
            ("Message-ID", identity),
        ]
        link = self._links.unsubscribe(message)
        if link is not None:
            if not _LINK.fullmatch(link):
                raise NotHandedOver(f"the link to unsubscribe is no https address: {link}", permanent=True)
            headers += [
                ("List-Unsubscribe", f"<{link}>"),
                ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
            ]
        return letter(message, headers)


def _mailbox(text: str) -> str:
    name, address = parseaddr(text)
    if name.isascii():
        return str(EmailAddress(name, addr_spec=address))
    return f"{unstructured(name)} <{address}>"


KIND = Kind(SmtpSettings, lambda settings, _name, opening: Smtp(settings, opening))
