"""The text of an HTML page, for those who read their mail as text. Pure."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Final

# Elements that are not told.
_UNTOLD: Final = frozenset(("head", "script", "style", "template"))
# Elements that begin a line of their own.
_BLOCKS: Final = frozenset(
    (
        *(
            "address",
            "article",
            "blockquote",
            "br",
            "dd",
            "div",
            "dl",
            "dt",
            "footer",
            "form",
            "header",
            "hr",
        ),
        *(
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "li",
            "main",
            "nav",
            "ol",
            "p",
            "pre",
            "section",
            "table",
            "td",
        ),
        *("th", "tr", "ul"),
    )
)
_SPACES = re.compile(r"[ \t\r\f\n]+")
_LINES = re.compile(r"\n{3,}")


def text_of(page: str) -> str:
    """Return what a page says, a line for each block, links with their addresses behind them.

    >>> text_of('<html><body><h1>Hello</h1><p>A <a href="https://a.example/b">coupon</a>.</body></html>')
    'Hello\\n\\nA coupon (https://a.example/b).\\n'
    """
    reader = _Reader()
    reader.feed(page)
    reader.close()
    lines = "".join(reader.parts).split("\n")
    return _LINES.sub("\n\n", "\n".join(line.strip() for line in lines)).strip() + "\n"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._untold = 0
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag in _UNTOLD:
            self._untold += 1
        elif tag in _BLOCKS:
            self._begin(tag)
        elif tag == "a":
            self._links.append((said.get("href") or "", len(self.parts)))
        elif tag == "img" and said.get("alt") and not self._untold:
            self.parts.append(str(said["alt"]))

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNTOLD:
            self._untold = max(0, self._untold - 1)
        elif tag in _BLOCKS and tag != "br":
            self._begin(tag)
        elif tag == "a" and self._links:
            address, begun = self._links.pop()
            if address.startswith(("https://", "http://")) and "".join(self.parts[begun:]).strip() != address:
                self.parts.append(f" ({address})")

    def handle_data(self, data: str) -> None:
        if not self._untold:
            self.parts.append(_SPACES.sub(" ", data))

    def _begin(self, tag: str) -> None:
        # What is beside each other in a table, or below each other in a list, is not apart by an empty line.
        self.parts.append("\n" if tag in ("br", "li", "tr", "td", "th", "dd", "dt") else "\n\n")
