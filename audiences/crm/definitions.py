"""Definitions of CRMs: `crm.yaml`, read as a whole or not at all. Secrets are settings, never here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from audiences.definitions import Name
from audiences.errors import CrmDefinitionError
from audiences.library_files import Document, read_document
from audiences.traits.models import CRM

FieldType = Literal["text", "number", "integer", "boolean", "time", "money"]


@lru_cache(maxsize=10_000)
def compiled(path: str) -> Any:
    """Return a path ready for use; JMESPathError when it is none."""
    return jmespath.compile(path)


def _is_path(value: str) -> str:
    try:
        compiled(value)
    except JMESPathError as error:
        raise ValueError(f"{value!r} is no JMESPath: {str(error).splitlines()[0]}") from error
    return value


JsonPath = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_is_path)]
Label = Annotated[str, Field(min_length=1, max_length=255)]


class FieldMap(Document):
    """Where a value comes from and what it is; money becomes whole minor units, beside its currency."""

    path: JsonPath
    type: FieldType = "text"
    required: bool = False
    currency: str | None = Field(default=None, pattern="^[A-Z]{3}$")
    currency_path: JsonPath | None = None
    minor_digits: int = Field(default=2, ge=0, le=4)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.type == "money") != ((self.currency is None) != (self.currency_path is None)):
            raise ValueError("money has either `currency` or `currency_path`; other fields have neither")
        return self


def _field(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


# A path alone is a text that may be missing.
Mapped = Annotated[FieldMap, BeforeValidator(_field)]


class IdentityMap(Document):
    """An identity of the user; unless said otherwise the CRM vouches for it, and it joins users."""

    kind: Name
    path: JsonPath
    verified: bool = True


class EventNames(Document):
    """The event's name by a value: of a ticket `opened` or `resolved` by its status."""

    path: JsonPath
    names: Mapping[str, Label] = Field(min_length=1)


class ObjectMap(Document):
    """How one type of the CRM's objects is read: of a user, or of an account alone, such as its tier."""

    when: Label
    id: JsonPath
    updated_at: JsonPath
    user_id: JsonPath | None = None
    identities: tuple[IdentityMap, ...] = ()
    account_id: JsonPath | None = None
    event: Annotated[EventNames | Label | None, Field(union_mode="left_to_right")] = None
    properties: Mapping[Label, Mapped] = Field(default_factory=dict)
    traits: Mapping[Label, Mapped] = Field(default_factory=dict)
    account_traits: Mapping[Label, Mapped] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        of_user = self.event is not None or self.traits
        if self.user_id is None and not self.identities and (of_user or self.account_id is None):
            raise ValueError(
                "name whose it is: `user_id`, or `identities` of the user, or only an `account_id`"
            )
        if self.event is None and not (self.traits or self.account_traits):
            raise ValueError("nothing would be kept: name an `event`, `traits` or `account_traits`")
        if self.properties and self.event is None:
            raise ValueError("`properties` are an event's: name the `event`")
        if self.account_traits and self.account_id is None:
            raise ValueError("`account_traits` need the `account_id`")
        return self


class CrmSource(Document):
    """One CRM: where its payloads say what they tell of, how each type is read, and which traits it owns."""

    id: Annotated[Name, Field(max_length=60)]
    type: JsonPath
    owns: tuple[Label, ...] = ()
    ignore: tuple[Label, ...] = ()
    objects: tuple[ObjectMap, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [one.when for one in self.objects] + list(self.ignore)
        twice = sorted(name for name, number in Counter(names).items() if number > 1)
        if twice:
            raise ValueError(f"{', '.join(twice)}: a type is mapped once, or ignored")
        return self

    @property
    def name(self) -> str:
        """The source as events and traits name it."""
        return f"{CRM}.{self.id}"


class _File(Document):
    sources: list[CrmSource] = Field(default_factory=list)


def read_crm(path: Path) -> Mapping[str, CrmSource]:
    """Return the CRMs of a `crm.yaml` by id; none without the file.

    Raises:
        CrmDefinitionError: a field is wrong or unknown, or two sources have one id; every problem is listed.
    """
    sources = read_document(path, _File, CrmDefinitionError).sources
    twice = sorted(id_ for id_, number in Counter(one.id for one in sources).items() if number > 1)
    if twice:
        raise CrmDefinitionError(f"{path}: {', '.join(twice)}: an id is one source's")
    return {one.id: one for one in sources}


def owners_in(path: Path, sources: Mapping[str, CrmSource]) -> Mapping[str, str]:
    """Return the owner of each trait that a CRM says it owns.

    Raises:
        CrmDefinitionError: two of them own one trait.
    """
    owners: dict[str, str] = {}
    for source in sources.values():
        for trait in source.owns:
            if owners.setdefault(trait, source.name) != source.name:
                raise CrmDefinitionError(f"{path}: {trait!r} is owned by {owners[trait]} and {source.name}")
    return owners
