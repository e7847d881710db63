"""How a version's messages look to one recipient: of every variant, in every language it is worded in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import msgspec

from playbooks.content.filling import Contents
from playbooks.content.names import OF_USER, Recipient, names_of
from playbooks.content.sent import messages_of
from playbooks.content.templates import read
from playbooks.errors import ContentFailed
from playbooks.library.documents import VersionBody


class Preview(msgspec.Struct, frozen=True):
    """A message as it would go out. `asked` is the language it was asked for in, `language` that of its text.

    `problem` is why it can't be filled for the recipient; then there is no text.
    """

    variant: str
    channel: str
    content: str
    asked: str | None
    language: str | None = None
    subject: str = ""
    body: str = ""
    problem: str = ""


def languages_of(body: VersionBody) -> list[str]:
    """Return the languages that a version speaks: those of its contents, then those the playbook names."""
    worded = [language for content in body.contents for language in content.languages]
    return list(dict.fromkeys([*worded, *body.playbook.languages]))


def names_in(body: VersionBody) -> frozenset[str]:
    """Return the names that a version's contents speak of: `offer.name`."""
    return frozenset(
        ".".join(path)
        for content in body.contents
        for _, template in content.templates
        for path, _ in read(template).paths
    )


def roots_of(body: VersionBody) -> frozenset[str]:
    """Return what the contents of a version speak of."""
    contents = Contents({one.id: one for one in body.contents})
    said = {one.content for arm in body.arms for one in messages_of(body.playbook, arm)}
    return frozenset[str]().union(*map(contents.roots, said))


def previews(body: VersionBody, recipient: Recipient, languages: Sequence[str] = ()) -> Iterator[Preview]:
    """Yield the messages of every variant in each of some languages; without any, in those it speaks.

    A version that says of no language is in the recipient's.
    """
    contents = Contents({one.id: one for one in body.contents})
    offers = body.offers_by_id
    wanted: Sequence[str | None] = languages or languages_of(body) or [recipient.language]
    for arm in body.arms:
        names = names_of(offers[arm.offer], arm, recipient)
        for (channel, content), asked in product(messages_of(body.playbook, arm), wanted):
            shown = Preview(arm.name, channel, content, asked)
            try:
                text = contents.text(content, channel, asked, names)
            except ContentFailed as error:
                yield msgspec.structs.replace(shown, problem=str(error))
            else:
                yield msgspec.structs.replace(
                    shown, language=text.language, subject=text.subject, body=text.body
                )


def completed(recipient: Recipient, example: Recipient) -> tuple[Recipient, list[str]]:
    """Return a recipient of whom everything is known, and which names were taken from an example."""
    filled: list[str] = []
    values = {}
    for root in OF_USER:
        known = {name: value for name, value in getattr(recipient, root).items() if value is not None}
        missing = {name: value for name, value in getattr(example, root).items() if known.get(name) is None}
        filled += [f"{root}.{name}" for name in missing]
        values[root] = {**missing, **known}
    return msgspec.structs.replace(recipient, **values), filled
