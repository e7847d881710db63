"""Contents as they are written in contents.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, model_validator

from playbooks.document import Document, Name

# Tags of BCP 47, as far as people write them: en, pt-BR, zh-Hant.
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]

# Longer ones are no messages, and every send parses and fills them.
_MOST_SUBJECT, _MOST_BODY, _MOST_WORDINGS = 500, 100_000, 200

Subject = Annotated[str, Field(max_length=_MOST_SUBJECT)]
Body = Annotated[str, Field(max_length=_MOST_BODY)]


class Wording(Document):
    """What a content says on a channel, in a language; without one of them, on every channel, in its own.

    `subject` is for channels whose messages have one.
    """

    channel: Name | None = None
    language: Language | None = None
    subject: Subject = ""
    body: Body

    def key(self, own: str | None) -> tuple[str | None, str | None]:
        """For which channel and language it is; `own` is the language of the content."""
        return self.channel, self.language or own


class Content(Document):
    """What a message says: Liquid templates, worded for channels and languages as `texts` has them.

    `subject` and `body` serve wherever no other wording fits, and are in `language`. A `block` is a piece
    that others take in by `{% render 'its_id' %}`; it is no message, and has a body alone. From
    `valid_until` on it is given to nobody.
    """

    id: Name
    kind: Literal["message", "block"] = "message"
    notes: str = ""
    subject: Subject = ""
    body: Body
    language: Language | None = None
    fallback: Annotated[list[Language], Field(max_length=20)] = []
    texts: Annotated[list[Wording], Field(max_length=_MOST_WORDINGS)] = []
    valid_until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _sound(self) -> Content:
        if self.kind == "block":
            if any(one.subject for one in self.wordings):
                raise ValueError("a block has no subject: it is a piece of other contents' bodies")
        elif not self.subject:
            raise ValueError("a message has a subject; channels without subjects leave it out in their texts")
        keys = [one.key(self.language) for one in self.wordings]
        for index, (channel, language) in enumerate(keys):
            if (channel, language) in keys[:index]:
                of = f"in {language}" if language else "without a language"
                on = f"on the channel {channel}" if channel else "on every channel"
                raise ValueError(f"there are two texts {of} {on}; `subject` and `body` are one of them")
        if doubles := sorted({one for one in self.fallback if self.fallback.count(one) > 1}):
            raise ValueError(f"fallback lists {', '.join(doubles)} more than once")
        if missing := [one for one in self.fallback if one not in self.languages]:
            raise ValueError(f"fallback names {', '.join(missing)}, in which there is no text")
        return self

    @property
    def wordings(self) -> list[Wording]:
        """Every wording, that of `subject` and `body` first."""
        own = Wording.model_construct(
            channel=None, language=self.language, subject=self.subject, body=self.body
        )
        return [own, *self.texts]

    @property
    def templates(self) -> Iterator[tuple[str, str]]:
        """Every template, by the place where it is written: `body`, `texts.0.subject`."""
        for index, one in enumerate(self.wordings):
            place = f"texts.{index - 1}." if index else ""
            for field in ("subject", "body"):
                if template := getattr(one, field):
                    yield f"{place}{field}", template

    @property
    def languages(self) -> list[str]:
        """The languages that it is worded in, its own first."""
        return list(dict.fromkeys(said for one in self.wordings if (said := one.language or self.language)))
