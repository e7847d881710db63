"""A mailbox on disk: every message becomes an e-mail file that any mail program opens.

`<folder>/<day queued>/<key>.eml`. A message handed over twice replaces its own file, so a crash between
hand-over and record leaves one. Files are not forced to disk one by one: after a power cut the last ones
may be missing although they count as delivered. This channel is for development and demonstration.
"""

from __future__ import annotations

import os
import re
import threading
from base64 import encodebytes
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime
from glob import escape
from hashlib import blake2b
from pathlib import Path
from urllib.parse import quote

from audiences.consent.models import Channel as Consent
from delivery.channels.channel import Address, AfterCrash, Receipt
from delivery.channels.kinds import Kind, NoSettings
from delivery.errors import NotForgotten, NotHandedOver
from delivery.models import Message
from delivery.retry import Retry

# RFC 2606 keeps this ending free: mail to it can't reach anybody by mistake.
_DOMAIN = "nextplay.invalid"
# File systems take names up to 255 bytes; the ending and the mark of an unfinished file need some.
_NAME_BYTES = 200
# RFC 5322, section 2.1.1: a line has at most 998 characters without its end.
_LINE = 998
_HEADER_LINE = 78
_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\s]+")
_PLAIN_LOCAL_PART = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Mailbox:
    """Writes messages as RFC 5322 files below a folder, which is created when the first one comes."""

    address = Address.NONE
    consent = Consent.EMAIL
    after_crash = AfterCrash.REPEAT
    retry = Retry()

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._days: set[str] = set()

    def send(self, message: Message) -> Receipt:
        """Write the message's file, whole or not at all.

        Raises:
            NotHandedOver: the folder can't be written.
        """
        day = message.queued_at.astimezone(UTC).date().isoformat()
        name = file_name(message.key)
        folder = os.path.join(self._folder, day)  # noqa: PTH118 - a Path costs as much as writing the file
        unfinished = f"{folder}/.{name}.{os.getpid()}-{threading.get_ident()}"
        try:
            if day not in self._days:
                Path(folder).mkdir(parents=True, exist_ok=True)
                self._days.add(day)
            handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
            try:
                _write_all(handle, as_email(message))
            finally:
                os.close(handle)
            os.replace(unfinished, f"{folder}/{name}")  # noqa: PTH105 - as above
        except OSError as error:
            self._days.discard(day)
            raise NotHandedOver(
                f"can't write to the mailbox {folder}: {error.strerror}; check its permissions and free space"
            ) from error
        return Receipt(f"{day}/{name}", delivered=True)

    def forget(self, key: str, queued_at: datetime) -> None:
        """Take away a message's file, also one that a crash left unfinished.

        Raises:
            NotForgotten: the folder can't be written.
        """
        folder, name = self._folder / queued_at.astimezone(UTC).date().isoformat(), file_name(key)
        try:
            for unfinished in folder.glob(f".{escape(name)}.*"):
                unfinished.unlink(missing_ok=True)
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise NotForgotten(
                f"can't take a mail out of {folder}: {error.strerror}; check its permissions, erase again"
            ) from error


KIND = Kind(NoSettings, lambda _settings, name, opening: Mailbox(opening.folder / name))


def file_name(key: str) -> str:
    """Return the file name of a message, different for different keys."""
    name = quote(key, safe="")
    if len(name) > _NAME_BYTES:
        name = "~" + blake2b(key.encode(), digest_size=32).hexdigest()
    return f"{name}.eml"


def as_email(message: Message) -> bytes:
    """Return the message as RFC 5322 text with CRLF line ends; no value in it can start a header."""
    identity = quote(message.key, safe="")
    body, encoding = _body(message.body)
    head = (
        f"Date: {format_datetime(message.queued_at.astimezone(UTC))}\r\n"
        f"From: nextplay <noreply@{_DOMAIN}>\r\n"
        f"To: <{_local_part(message.user_id)}@{_DOMAIN}>\r\n"
        f"Subject: {_unstructured(message.subject)}\r\n"
        f"Message-ID: <{_local_part(identity)}@{_DOMAIN}>\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    return head.encode("ascii") + body


def _unstructured(text: str) -> str:
    """Return a header value on one logical line; what is not plain ASCII becomes RFC 2047 words."""
    line = _NOT_PRINTABLE.sub(" ", text).strip()
    if line.isascii() and len(line) < _LINE - len("Subject: ") and "=?" not in line:
        return line
    return Header(_storable(line), "utf-8", maxlinelen=_HEADER_LINE).encode(linesep="\r\n")


def _local_part(name: str) -> str:
    """Return an address's part before the @, different for different names of up to 64 plain characters."""
    if _PLAIN_LOCAL_PART.fullmatch(name):
        return name
    return "x." + blake2b(name.encode("utf-8", "surrogatepass"), digest_size=24).hexdigest()


def _body(text: str) -> tuple[bytes, str]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    plain = text.isascii() and "\0" not in text and max(map(len, lines)) <= _LINE
    data = _storable("\r\n".join(lines) + "\r\n").encode()
    if plain:
        return data, "7bit"
    return encodebytes(data).replace(b"\n", b"\r\n"), "base64"


def _storable(text: str) -> str:
    """Return text without lone surrogates, which JSON may carry and UTF-8 can't."""
    return text.encode("utf-8", "replace").decode()


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
