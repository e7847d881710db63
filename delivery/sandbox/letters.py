"""The sandbox over SMTP, by aiosmtpd: it takes mails for anybody and delivers none."""

from __future__ import annotations

import asyncio
import ssl
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from delivery.sandbox.taking import Taking

_SIZE = 10 * 1024 * 1024


class Letters:
    """What aiosmtpd asks at each step of a mail."""

    def __init__(self, taking: Taking) -> None:
        self._taking = taking

    async def handle_RCPT(  # noqa: N802 - the name is aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody@"):
            return "550 5.1.1 there is nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - the name is aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        behaviour = self._taking.next()
        if behaviour is not None and not behaviour.takes:
            permanent = behaviour.status >= 500 and behaviour.status not in range(502, 505)
            return "554 5.7.1 not this one" if permanent else "451 4.3.0 not now"
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        mail = message_from_bytes(content, _class=EmailMessage, policy=policy.default)
        text = mail.get_body(preferencelist=("plain", "html"))
        self._taking.take(
            "smtp",
            ", ".join(envelope.rcpt_tos),
            "" if text is None else text.get_content(),
            subject=str(mail["Subject"] or ""),
            headers={name: str(value) for name, value in mail.items()},
        )
        if behaviour is not None:
            await asyncio.sleep(behaviour.seconds)
        return "250 2.0.0 taken"


def server_of(
    taking: Taking, token: str, tls: ssl.SSLContext | None = None, *, starttls: bool = False
) -> SMTP:
    """Return one connection's server; with `starttls` it asks for TLS and a sign-in with `token` first."""

    def signs_in(
        _server: SMTP, _session: Session, _envelope: Envelope, mechanism: str, said: object
    ) -> AuthResult:
        known = isinstance(said, LoginPassword) and said.password == token.encode()
        return AuthResult(success=known, handled=known)

    return SMTP(
        Letters(taking),
        hostname="sandbox.nextplay.invalid",
        data_size_limit=_SIZE,
        enable_SMTPUTF8=True,
        tls_context=tls if starttls else None,
        require_starttls=starttls,
        auth_required=starttls,
        auth_require_tls=starttls,
        authenticator=signs_in,
    )
