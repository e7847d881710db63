"""Fills contents: the wording for a channel and a language, with what is known of one user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from liquid import BoundTemplate
from liquid.builtin import CachingDictLoader
from liquid.exceptions import LiquidError, ResourceLimitError

from playbooks.content.blocks import with_blocks
from playbooks.content.bounds import Bounded, said
from playbooks.content.documents import Content
from playbooks.content.languages import shortened, worded
from playbooks.content.pages import is_html
from playbooks.content.templates import place, read
from playbooks.errors import ContentFailed

# Asked of a user wherever contents are worded in several languages.
LANGUAGE = "language"


class Text(msgspec.Struct, frozen=True, gc=False):
    """What a message says to one user; `language` is None where the content does not say of its own."""

    subject: str
    body: str
    language: str | None = None


class _Filled(msgspec.Struct, frozen=True):
    subject: BoundTemplate | None
    body: BoundTemplate
    language: str | None


class Contents:
    """The contents of one library or version. Each wording is parsed once."""

    def __init__(self, contents: Mapping[str, Content]) -> None:
        self._contents = contents
        self._languages = {tag.lower() for one in contents.values() for tag in one.languages}
        self._environments: dict[tuple[str, str, bool], Bounded] = {}
        self._templates: dict[tuple[str, str, str], _Filled] = {}
        self._roots: dict[str, frozenset[str]] = {}

    def text(self, content: str, channel: str, language: str | None, names: Mapping[str, Any]) -> Text:
        """Return what a content says on a channel, in the language of its chain, of these names.

        Raises:
            ContentFailed: there is no such content, or a template can't be filled; the message says where.
        """
        if content not in self._contents:
            raise ContentFailed(f"there is no content {content!r}")
        known = self._known(language)
        try:
            filled = self._parsed(content, channel, known)
            subject = filled.subject.render(names) if filled.subject else ""
            return Text(subject, filled.body.render(names), filled.language)
        except LiquidError as error:
            limit = isinstance(error, ResourceLimitError)
            raise ContentFailed(
                f"the content {content!r} can't be filled: {_told(error, self._blocks(channel, known))}",
                limit=limit,
            ) from error

    def roots(self, content: str) -> frozenset[str]:
        """Return what the wordings of a content, and its blocks, speak of: `user`, `offer`, …"""
        found = self._roots.get(content)
        if found is None:
            parts = (self._contents[one] for one in with_blocks([content], self._contents))
            found = self._roots[content] = frozenset(
                use.name.partition(".")[0]
                for part in parts
                for _, template in part.templates
                for use in read(template).variables
            )
            if len(self._languages) > 1:
                self._roots[content] = found = found | {LANGUAGE}
        return found

    def _known(self, language: str | None) -> str:
        """Return the longest part of a language that anything is worded in: what users say has no end."""
        known = (one.lower() for one in shortened(language))
        return next((one for one in known if one in self._languages), "")

    def _parsed(self, content: str, channel: str, language: str) -> _Filled:
        key = (content, channel, language)
        parsed = self._templates.get(key)
        if parsed is None:
            wording = worded(self._contents[content], channel, language)
            subject, body = wording.subject, wording.body
            plain = self._environment(channel, language)
            filled = self._environment(channel, language, page=True) if is_html(body) else plain
            parsed = self._templates[key] = _Filled(
                plain.from_string(subject) if subject else None, filled.from_string(body), wording.language
            )
        return parsed

    def _environment(self, channel: str, language: str, *, page: bool = False) -> Bounded:
        key = (channel, language, page)
        environment = self._environments.get(key)
        if environment is None:
            loader = CachingDictLoader(self._blocks(channel, language), auto_reload=False)
            environment = self._environments[key] = Bounded(loader, page=page)
        return environment

    def _blocks(self, channel: str, language: str) -> dict[str, str]:
        return {
            name: worded(one, channel, language).body
            for name, one in self._contents.items()
            if one.kind == "block"
        }


def _told(error: LiquidError, blocks: Mapping[str, str]) -> str:
    line, column = place(error)
    source = error.token.source if error.token is not None else None
    block = next((name for name, body in blocks.items() if body == source), None)
    at = f"line {line}, column {column}: " if line else ""
    return f"{'' if block is None else f'in the block {block!r}, '}{at}{said(error)}"
