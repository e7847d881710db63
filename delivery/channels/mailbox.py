"""A mailbox on disk: every message becomes an e-mail file that any mail program opens.

`<folder>/<day queued>/<key>.eml`. A message handed over twice replaces its own file, so a crash between
hand-over and record leaves one. Files are not forced to disk one by one: after a power cut the last ones
may be missing although they count as delivered. This channel is for development and demonstration.
"""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from glob import escape
from hashlib import blake2b
from pathlib import Path
from urllib.parse import quote

from audiences.consent.models import Channel as Consent
from delivery.channels.channel import Address, AfterCrash, Receipt
from delivery.channels.kinds import Kind, NoSettings
from delivery.channels.letters import letter, local_part, message_id, unstructured
from delivery.errors import NotForgotten, NotHandedOver
from delivery.models import Message
from delivery.retry import Retry

# RFC 2606 keeps this ending free: mail to it can't reach anybody by mistake.
_DOMAIN = "nextplay.invalid"
# File systems take names up to 255 bytes; the ending and the mark of an unfinished file need some.
_NAME_BYTES = 200


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
    head = [
        ("From", f"nextplay <noreply@{_DOMAIN}>"),
        ("To", f"<{local_part(message.user_id)}@{_DOMAIN}>"),
        ("Subject", unstructured(message.subject)),
        ("Message-ID", message_id(message.key, _DOMAIN)),
    ]
    return letter(message, head)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
