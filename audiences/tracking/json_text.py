"""JSON as senders write it: what other parsers let through is mended, and nothing else is changed.

Python's and JavaScript's writers can produce text that is no JSON: `NaN` and `Infinity`, and halves of a
surrogate pair where a text was cut inside an emoji. One such value must not cost a whole batch.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b|[\[{]|[\]}]', re.DOTALL)
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}|\\.",
    re.DOTALL,
)
_REPLACEMENT = rb"\ufffd"
_LONE_LENGTH = len(_REPLACEMENT)


def mended(text: bytes, max_depth: int) -> bytes:
    """Return the text with NaN and infinities as null and lone surrogates as U+FFFD.

    Objects and lists one level below `max_depth` are emptied, because parsers refuse a whole text for one
    value that is too deep; what is left of that value is still deeper than `max_depth`.
    """
    parts: list[bytes] = []
    depth = at = 0
    for found in _TOKEN.finditer(text):
        token = found[0]
        shown = depth <= max_depth
        if shown:
            parts.append(text[at : found.start()])
        at = found.end()
        if token in (b"[", b"{"):
            depth += 1
        elif token in (b"]", b"}"):
            shown = depth <= max_depth + 1
            depth -= 1
        else:
            token = _value(token)
        if shown:
            parts.append(token)
    parts.append(text[at:])
    return b"".join(parts)


def _value(token: bytes) -> bytes:
    if not token.startswith(b'"'):
        return b"null"
    return _ESCAPE.sub(_escape, token) if b"\\u" in token else token


def _escape(found: re.Match[bytes]) -> bytes:
    escape = found[0]
    lone = len(escape) == _LONE_LENGTH and escape[1:2] == b"u"
    return _REPLACEMENT if lone else escape
