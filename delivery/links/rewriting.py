"""Puts tracked links into the text of a message in place of its own: pure."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

from playbooks.content.pages import is_html

# As far as people and templates write them; what ends a sentence is no part of one.
_PLAIN = re.compile(r"https?://[^\s<>\"'`\x00-\x1f]+", re.IGNORECASE)
_HREF = re.compile(r"""(<a\b[^>]*?\bhref\s*=\s*)(["'])(https?://.*?)\2""", re.IGNORECASE | re.DOTALL)
_END = re.compile(r"</body\s*>", re.IGNORECASE)
_AFTER = ".,;:!?'\"*_"
_CLOSING = {")": "(", "]": "[", "}": "{"}

# Makes the tracked link of an address, the `number`th of `links`.
Track = Callable[[str, int, int], str]


def rewritten(body: str, track: Track, ours: str, pixel: str = "") -> str:
    """Return a text with its links tracked, but for those that begin with `ours`.

    Args:
        pixel: the address of the picture by which an HTML page tells that it was opened.
    """
    pattern, group = (_HREF, 3) if is_html(body) else (_PLAIN, 0)
    found = [one for one in pattern.finditer(body) if not one[group].startswith(f"{ours}/")]
    parts, at = [], 0
    for number, one in enumerate(found, start=1):
        start, end = one.span(group)
        address = one[group] if pattern is _HREF else _trimmed(one[group])
        parts.append(body[at:start])
        if pattern is _HREF:
            parts.append(html.escape(track(html.unescape(address), number, len(found))))
        else:
            parts.append(track(address, number, len(found)))
            end = start + len(address)
        at = end
    text = "".join((*parts, body[at:]))
    return _with_pixel(text, pixel) if pixel and pattern is _HREF else text


def _trimmed(address: str) -> str:
    """Return an address without what belongs to the sentence around it.

    >>> [_trimmed(one) for one in ('https://a.example/b.', 'https://a.example/(b)', 'https://a.example/b).')]
    ['https://a.example/b', 'https://a.example/(b)', 'https://a.example/b']
    """
    while address:
        last = address[-1]
        opening = _CLOSING.get(last)
        if last in _AFTER or (opening is not None and address.count(opening) < address.count(last)):
            address = address[:-1]
        else:
            break
    return address


def _with_pixel(page: str, pixel: str) -> str:
    image = f'<img src="{html.escape(pixel)}" width="1" height="1" alt="">'
    ends = list(_END.finditer(page))
    at = ends[-1].start() if ends else len(page)
    return page[:at] + image + page[at:]
