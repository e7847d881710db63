"""Which wording a user gets: by the channel, and by a chain of languages that is always the same."""

from __future__ import annotations

import re
from collections.abc import Iterator

from playbooks.content.documents import Content, Wording

_TAG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*", re.ASCII)


def language_of(said: object) -> str | None:
    """Return the language that somebody says of a user as a tag of BCP 47; None if it is none.

    >>> language_of("de_AT"), language_of("EN"), language_of("klingon, please")
    ('de-AT', 'en', None)
    """
    text = said.strip().partition(".")[0] if isinstance(said, str) else ""
    if not _TAG.fullmatch(text):
        return None
    first, *rest = text.replace("_", "-").split("-")
    return "-".join([first.lower(), *rest])


def chain(content: Content, language: str | None) -> Iterator[str | None]:
    """Yield the languages to look for, the first that there is wins.

    The user's own, then with fewer parts (`de-AT`, `de`), then those of the content's `fallback` in their
    order, and at last the language of its `subject` and `body`.
    """
    yield from dict.fromkeys([*shortened(language), *content.fallback, content.language])


def shortened(language: str | None) -> list[str]:
    """Return a language, and what is left of it with fewer parts: `de-AT`, `de`."""
    parts = language.split("-") if language else []
    return ["-".join(parts[:end]) for end in range(len(parts), 0, -1)]


def worded(content: Content, channel: str, language: str | None) -> Wording:
    """Return what a content says on a channel to somebody of a language (see `chain`).

    In each language the wording for the channel goes before that for every channel.
    """
    wordings = {tuple(map(_folded, one.key(content.language))): one for one in content.wordings}
    for said in chain(content, language):
        for on in (channel, None):
            if (found := wordings.get((on, _folded(said)))) is not None:
                return found.model_copy(update={"language": found.language or content.language})
    return content.wordings[0]


def _folded(tag: str | None) -> str | None:
    return None if tag is None else tag.lower()
