"""What is wrong with the contents of a library, with its place: before anything is imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from playbooks.content import blocks
from playbooks.content.documents import Content
from playbooks.content.filling import Contents
from playbooks.content.names import (
    ARM,
    OF_USER,
    OFFER,
    ROOTS,
    USER_ID,
    Vocabulary,
    known_of_arms,
    known_of_offers,
    sample,
)
from playbooks.content.templates import Path, Use, filters, read
from playbooks.errors import ContentFailed
from playbooks.models import ARM_ATTRIBUTES
from playbooks.offers import Offer
from playbooks.suggesting import closest


class Flaw(msgspec.Struct, frozen=True):
    """Something wrong with a template: `field` is its place in the content, `line` and `column` in it."""

    content: str
    field: str
    message: str
    line: int = 0
    column: int = 0


def flaws(
    contents: Mapping[str, Content], offers: Mapping[str, Offer], vocabulary: Vocabulary | None
) -> Iterator[Flaw]:
    """Yield what is wrong with contents.

    Args:
        offers: of the library, whose attributes templates may name.
        vocabulary: what is known of users; None: names of users are not looked at.
    """
    attributes = dict.fromkeys(name for one in offers.values() for name in one.attributes)
    known = {
        OFFER: known_of_offers(attributes),
        ARM: known_of_arms({**attributes, **dict.fromkeys(ARM_ATTRIBUTES)}),
        **({} if vocabulary is None else {root: frozenset(getattr(vocabulary, root)) for root in OF_USER}),
    }
    wrong: set[str] = set()
    for content in contents.values():
        for flaw in _of_templates(content, contents, known):
            wrong.add(content.id)
            yield flaw
    circles = [one for one in contents if blocks.circle(one, contents)]
    for name in circles:
        way = " → ".join(blocks.circle(name, contents))
        yield Flaw(name, _first(contents[name]), f"blocks take each other in without end: {way}")
    if not circles:
        for content in contents.values():
            if not wrong & blocks.with_blocks([content.id], contents):
                yield from _of_size(content, contents, known, vocabulary or Vocabulary())


def _of_templates(
    content: Content, contents: Mapping[str, Content], known: Mapping[str, frozenset[str]]
) -> Iterator[Flaw]:
    for field, template in content.templates:
        found = read(template)
        for use, message in _messages(found.wrong, found.filters, found.blocks, contents):
            yield Flaw(content.id, field, message, use.line, use.column)
        for path, use in found.paths:
            if message := _unknown(path, known):
                yield Flaw(content.id, field, message, use.line, use.column)


def _messages(
    wrong: Use | None, unknown: Iterable[Use], taken: Iterable[Use], contents: Mapping[str, Content]
) -> Iterator[tuple[Use, str]]:
    if wrong is not None:
        yield wrong, wrong.name
    for use in unknown:
        yield use, f"there is no filter {use.name!r}{closest(use.name, filters())}"
    pieces = [one.id for one in contents.values() if one.kind == "block"]
    for use in taken:
        if use.name not in contents:
            yield use, f"there is no block {use.name!r}{closest(use.name, pieces)}"
        elif use.name not in pieces:
            yield use, f"{use.name!r} is a message: only what is of `kind: block` can be taken in"


def _unknown(path: Path, known: Mapping[str, frozenset[str]]) -> str:
    root, *rest = path
    if root not in ROOTS:
        return f"there is no {root!r}{closest(root, ROOTS)}"
    if root == USER_ID or not rest or root not in known:
        return ""
    if rest[0] in known[root]:
        return ""
    near = closest(rest[0], known[root])
    # A list of everything there is says less than the page about it.
    return f"there is no {'.'.join(path)}" + (near if near.startswith(", did") else "")


def _of_size(
    content: Content,
    contents: Mapping[str, Content],
    known: Mapping[str, frozenset[str]],
    vocabulary: Vocabulary,
) -> Iterator[Flaw]:
    """Yield what is beyond a limit when it is filled, for somebody of whom everything is known."""
    if blocks.size(content.id, contents) > blocks.MAX_BLOCKS:
        yield Flaw(content.id, _first(content), f"it is made of more than {blocks.MAX_BLOCKS} blocks")
        return
    names = _example(known, vocabulary)
    filled = Contents({name: contents[name] for name in blocks.with_blocks([content.id], contents)})
    told: set[str] = set()
    for wording in content.wordings:
        try:
            filled.text(content.id, wording.channel or "", wording.language or content.language, names)
        except ContentFailed as error:
            if error.limit and str(error) not in told:
                told.add(str(error))
                yield Flaw(content.id, _first(content), str(error))


def _example(known: Mapping[str, frozenset[str]], vocabulary: Vocabulary) -> Mapping[str, Any]:
    somebody = sample(vocabulary)
    return {
        USER_ID: somebody.user_id,
        **{root: getattr(somebody, root) for root in OF_USER},
        **{root: dict.fromkeys(known[root], "1") for root in (OFFER, ARM)},
    }


def _first(content: Content) -> str:
    """Return the first template that takes blocks in or loops; else the body."""
    for field, template in content.templates:
        if read(template).blocks or "{%" in template:
            return field
    return "body"
