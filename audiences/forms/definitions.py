"""Definitions of forms: `forms.yaml`, read as a whole or not at all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AnyHttpUrl, Field, model_validator

from audiences.addresses import AddressKind
from audiences.consent.models import Channel
from audiences.definitions import Name
from audiences.errors import FormDefinitionError
from audiences.library_files import Document, read_document

# Names that begin so are the form's own, not the visitor's.
RESERVED = "_"
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]
FieldType = Literal["text", "email", "phone", "integer", "number", "boolean", "date", "choice"]


class FieldSpec(Document):
    """One field. What it holds becomes a trait, an identity, a property of the event, or several of these.

    Without any of them it becomes a property of its own name.
    """

    name: FieldName
    type: FieldType = "text"
    label: str = ""
    required: bool = False
    max_length: int = Field(default=1_000, ge=1, le=10_000)
    choices: tuple[str, ...] = ()
    trait: str | None = Field(default=None, min_length=1, max_length=255)
    identity: AddressKind | None = None
    property: str | None = Field(default=None, min_length=1, max_length=255)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("a field of the type choice has `choices`, others have none")
        if self.identity is not None and self.type != self.identity:
            raise ValueError(
                f"an identity {self.identity.value} is a field of the type {self.identity.value}"
            )
        return self


class WordingSpec(Document):
    """What stands beside the box. A changed text is a new version."""

    id: Name
    version: str = Field(min_length=1, max_length=64)
    text: str = Field(min_length=1, max_length=20_000)


class Grant(Document):
    """What a ticked box agrees to."""

    purpose: Name
    channel: Channel


class ConsentSpec(Document):
    """A box. Ticked it grants; left empty it says nothing, and takes back nothing."""

    field: FieldName
    wording: WordingSpec
    grants: tuple[Grant, ...] = Field(min_length=1)
    required: bool = False


class FormTag(Document):
    """The tag that whoever sends the form gets."""

    name: Name
    expires_after: timedelta | None = None


class Rate(Document):
    """How many submissions one address may send: `burst` at once, then `per_minute`."""

    burst: int = Field(default=10, ge=1, le=1_000)
    per_minute: float = Field(default=10.0, gt=0, le=6_000)


class FormSpec(Document):
    """A form of a site."""

    id: Name
    name: str = ""
    event: str = Field(default="form_submitted", min_length=1, max_length=255)
    fields: tuple[FieldSpec, ...] = Field(min_length=1, max_length=100)
    consents: tuple[ConsentSpec, ...] = ()
    tag: FormTag | None = None
    redirect: AnyHttpUrl | None = None
    download: AnyHttpUrl | None = None
    origins: tuple[str, ...] = ()
    honeypot: FieldName | None = None
    minimal_seconds: float = Field(default=0.0, ge=0, le=600)
    rate: Rate = Rate()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [one.name for one in self.fields] + [one.field for one in self.consents]
        names += [self.honeypot] if self.honeypot else []
        twice = sorted(name for name, number in Counter(names).items() if number > 1)
        if twice:
            raise ValueError(f"{', '.join(twice)}: a name is one field's")
        if self.redirect is not None and self.download is not None:
            raise ValueError("name a page to go to (`redirect`) or what is given (`download`), not both")
        wrong = [one for one in self.origins if not _ORIGIN.fullmatch(one)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no origin: write it like https://www.example.com")
        return self


class _File(Document):
    forms: list[FormSpec] = Field(default_factory=list)


def read_forms(path: Path) -> Mapping[str, FormSpec]:
    """Return the forms of a `forms.yaml` by id; none without the file.

    Raises:
        FormDefinitionError: a field is wrong or unknown, or two forms have one id; every problem is listed.
    """
    forms = read_document(path, _File, FormDefinitionError).forms
    found = {one.id: one for one in forms}
    if len(found) < len(forms):
        twice = sorted(id_ for id_, number in Counter(one.id for one in forms).items() if number > 1)
        raise FormDefinitionError(f"{path}: {', '.join(twice)}: an id is one form's")
    return found
