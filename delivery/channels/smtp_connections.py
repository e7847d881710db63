"""Connections to one mail server: opened when needed, kept while they are of use, bounded in time.

One mail may take so many seconds for all of its steps, and the server's answers so many bytes: one that
answers drop by drop, or for ever, does not hold a thread.
"""

from __future__ import annotations

import contextlib
import io
import smtplib
import socket
import ssl
import threading
import time
from typing import Final, Literal, NamedTuple

from delivery.errors import NotHandedOver

# Servers close connections that rest for longer: RFC 5321, section 4.5.3.2.7, asks them for five minutes.
_REST_SECONDS: Final = 60.0
_MOST_BYTES: Final = 64 * 1024
_KEPT: Final = 32
_BYE_SECONDS: Final = 1.0


class Login(NamedTuple):
    """With whom the server takes mails."""

    user: str
    password: str


class _Reading(io.RawIOBase):
    """What a server answers, until the mail's time is up or it said too much."""

    def __init__(self, of: _Bounded) -> None:
        self._of = of

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        sock = self._of.sock
        if sock is None:
            return 0
        sock.settimeout(self._of.left())
        read = sock.recv_into(buffer)
        self._of.heard += read
        if self._of.heard > _MOST_BYTES:
            raise OSError("its answer does not end")
        return read


class _Bounded(smtplib.SMTP):
    def __init__(self, host: str, port: int, name: str, until: float) -> None:
        self.until, self.heard, self.used = until, 0, time.monotonic()
        super().__init__(host, port, name, timeout=self.left())

    def left(self) -> float:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("its time is up")
        return left

    def begin(self, until: float) -> None:
        """Give the connection to a mail that has to be through by then."""
        self.until, self.heard = until, 0
        if self.sock is not None:
            self.sock.settimeout(self.left())

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = io.BufferedReader(_Reading(self))
        return super().getreply()

    def send(self, s: object) -> None:
        if self.sock is not None:
            self.sock.settimeout(self.left())
        super().send(s)  # type: ignore[arg-type]


class _BoundedTls(_Bounded):
    default_port = smtplib.SMTP_SSL_PORT

    def __init__(self, host: str, port: int, name: str, until: float, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(host, port, name, until)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        sock = socket.create_connection((host, port), timeout, self.source_address)
        return self._context.wrap_socket(sock, server_hostname=host)


class Connections:
    """Hands mails over. Thread-safe: each mail has a connection to itself while it is handed over."""

    def __init__(
        self,
        host: str,
        port: int,
        tls: Literal["starttls", "implicit", "none"],
        login: Login | None,
        *,
        name: str,
        seconds: float,
        ca_file: str | None = None,
    ) -> None:
        """Connect to nobody yet.

        Args:
            name: by which we greet the server.
            seconds: that one mail may take.
            ca_file: certificates that are trusted beside those of the system.
        """
        self._host, self._port, self._tls, self._login = host, port, tls, login
        self._name, self._seconds = name, seconds
        self._context = ssl.create_default_context()
        if ca_file is not None:
            self._context.load_verify_locations(ca_file)
        self._idle: list[_Bounded] = []
        self._lock = threading.Lock()

    def send(self, sender: str, to: str, content: bytes) -> None:
        """Hand one mail over.

        Raises:
            NotHandedOver: the server can't be reached or refuses; `perhaps` where the whole mail had been
                sent when it stopped answering.
        """
        until = time.monotonic() + self._seconds
        connection = self._rested(until) or self._open(until)
        try:
            self._transact(connection, sender, to, content)
        except NotHandedOver:
            self._after_refusal(connection)
            raise
        except BaseException:
            connection.close()
            raise
        self._keep(connection)

    def close(self) -> None:
        """Say good-bye on every connection that rests."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            with contextlib.suppress(smtplib.SMTPException, OSError):
                connection.begin(time.monotonic() + _BYE_SECONDS)
                connection.quit()
            connection.close()

    def _transact(self, connection: _Bounded, sender: str, to: str, content: bytes) -> None:
        options = []
        if not to.isascii():
            if not connection.has_extn("smtputf8"):
                raise NotHandedOver(f"{self._host} takes no addresses but ASCII", permanent=True)
            options = ["SMTPUTF8", "BODY=8BITMIME"]
            connection.command_encoding = "utf-8"
        try:
            self._look(connection.mail(sender, options))
            self._look(connection.rcpt(to))
            self._look(connection.docmd("DATA"), fine=range(354, 355))
        except (smtplib.SMTPException, OSError) as error:
            raise self._broken(connection, error) from error
        try:
            connection.send(_dotted(content))
            code, said = connection.getreply()
        except (smtplib.SMTPException, OSError) as error:
            raise self._broken(connection, error, perhaps=True) from error
        self._look((code, said))

    def _look(self, reply: tuple[int, bytes], fine: range = range(200, 300)) -> None:
        code, said = reply
        if code in fine:
            return
        if code < 0 or not 400 <= code < 600:
            raise NotHandedOver(
                f"{self._host} answered {code} where that says nothing", perhaps=fine.start < 300
            )
        # Servers quote the address here; their enhanced code (RFC 3463) says as much without it.
        enhanced = said.split(b" ", 1)[0].decode("ascii", "replace")[:20]
        detail = f" {enhanced}" if enhanced[:2] in ("4.", "5.") else ""
        raise NotHandedOver(f"{self._host} refused the mail: {code}{detail}", permanent=code >= 500)

    def _broken(self, connection: _Bounded, error: Exception, perhaps: bool = False) -> NotHandedOver:
        connection.close()
        why = f"not within {self._seconds:g} s" if time.monotonic() >= connection.until else str(error)
        return NotHandedOver(f"{self._host} stopped answering: {why}", perhaps=perhaps)

    def _open(self, until: float) -> _Bounded:
        try:
            if self._tls == "implicit":
                connection: _Bounded = _BoundedTls(self._host, self._port, self._name, until, self._context)
            else:
                connection = _Bounded(self._host, self._port, self._name, until)
        except (smtplib.SMTPException, OSError) as error:
            raise NotHandedOver(f"{self._host}:{self._port} can't be reached: {error}") from error
        try:
            connection.ehlo_or_helo_if_needed()
            if self._tls == "starttls":
                connection.starttls(context=self._context)
                connection.ehlo_or_helo_if_needed()
            if self._login is not None:
                connection.login(*self._login)
        except smtplib.SMTPAuthenticationError as error:
            connection.close()
            raise NotHandedOver(
                f"{self._host} does not know the user or the password ({error.smtp_code})"
            ) from error
        except (smtplib.SMTPException, OSError) as error:
            connection.close()
            raise NotHandedOver(f"{self._host}:{self._port} can't be reached: {error}") from error
        return connection

    def _rested(self, until: float) -> _Bounded | None:
        """Return a connection that still works, None if there is none."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if time.monotonic() - connection.used <= _REST_SECONDS:
                with contextlib.suppress(smtplib.SMTPException, OSError):
                    connection.begin(until)
                    # Between two mails the server must have nothing to say: if it has, it says good-bye.
                    if connection.rset()[0] == 250:
                        return connection
            connection.close()

    def _keep(self, connection: _Bounded) -> None:
        connection.used = time.monotonic()
        with self._lock:
            if len(self._idle) < _KEPT:
                self._idle.append(connection)
                return
        connection.close()

    def _after_refusal(self, connection: _Bounded) -> None:
        # A connection that broke is closed already and has no socket.
        if connection.sock is not None:
            self._keep(connection)


def _dotted(content: bytes) -> bytes:
    """Return a mail as DATA has it: RFC 5321, section 4.5.2."""
    lines = content if content.endswith(b"\r\n") else content + b"\r\n"
    return ((lines[:1] == b"." and b".") or b"") + lines.replace(b"\r\n.", b"\r\n..") + b".\r\n"
