"""E-mails as RFC 5322 text with CRLF line ends; no value in them can start a header. Pure."""

from __future__ import annotations

import re
from base64 import encodebytes
from collections.abc import Sequence
from datetime import UTC
from email.header import Header
from email.utils import format_datetime
from hashlib import blake2b
from urllib.parse import quote

from delivery.channels.plain_text import text_of
from delivery.models import Message
from playbooks.content.pages import is_html

# RFC 5322, section 2.1.1: a line has at most 998 characters without its end.
_LINE = 998
_HEADER_LINE = 78
_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\s]+")
_PLAIN_LOCAL_PART = re.compile(r"[A-Za-z0-9_-]{1,64}")


def letter(message: Message, headers: Sequence[tuple[str, str]]) -> bytes:
    """Return a message with these headers, whose values are fit to be written as they are.

    A page of HTML is sent with what it says as text beside it (RFC 2046, section 5.1.4).
    """
    about, content = _alternatives(message) if is_html(message.body) else _part(message.body, "plain")
    date = ("Date", format_datetime(message.queued_at.astimezone(UTC)))
    return _head([date, *headers, ("MIME-Version", "1.0"), *about]) + content


def _alternatives(message: Message) -> tuple[Sequence[tuple[str, str]], bytes]:
    digest = blake2b(f"{message.key}\0{message.body}".encode("utf-8", "surrogatepass"), digest_size=16)
    boundary = f"=_{digest.hexdigest()}"
    content = b""
    # The one that says most comes last.
    for text, kind in ((text_of(message.body), "plain"), (message.body, "html")):
        about, part = _part(text, kind)
        content += f"--{boundary}\r\n".encode() + _head(about) + part
    content += f"--{boundary}--\r\n".encode()
    return [("Content-Type", f'multipart/alternative; boundary="{boundary}"')], content


def _part(text: str, kind: str) -> tuple[Sequence[tuple[str, str]], bytes]:
    data, encoding = _body(text)
    said = ("Content-Type", f"text/{kind}; charset=utf-8")
    return [said, ("Content-Transfer-Encoding", encoding)], data


def _head(headers: Sequence[tuple[str, str]]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{lines}\r\n".encode()


def message_id(key: str, domain: str) -> str:
    """Return the Message-ID of a key: the same at every attempt, another for another key."""
    return f"<{local_part(quote(key, safe=''))}@{domain}>"


def unstructured(text: str) -> str:
    """Return a header value on one logical line; what is not plain ASCII becomes RFC 2047 words."""
    line = _NOT_PRINTABLE.sub(" ", text).strip()
    if line.isascii() and len(line) < _LINE - len("Subject: ") and "=?" not in line:
        return line
    return Header(_storable(line), "utf-8", maxlinelen=_HEADER_LINE).encode(linesep="\r\n")


def local_part(name: str) -> str:
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
