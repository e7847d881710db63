"""Who owns which trait: `traits.yaml`, and what sources of `crm.yaml` say they own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator

from audiences.errors import TraitError
from audiences.library_files import Document, read_document
from audiences.traits.models import SOURCES


class TraitSpec(Document):
    """A trait and the source whose word on it counts."""

    name: str = Field(min_length=1, max_length=255)
    owner: str

    @field_validator("owner")
    @classmethod
    def _is_source(cls, value: str) -> str:
        if value.partition(".")[0] not in SOURCES:
            raise ValueError(f"an owner is {', '.join(SOURCES)}, or one of them like crm.<source>")
        return value


class _File(Document):
    traits: list[TraitSpec] = Field(default_factory=list)


def read_owners(path: Path, also: Mapping[str, str]) -> Mapping[str, str]:
    """Return the owner of each trait that has one.

    Args:
        also: owners that another file names.

    Raises:
        TraitError: a field is wrong, or a trait has two owners.
    """
    owners = dict(also)
    for one in read_document(path, _File, TraitError).traits:
        if owners.setdefault(one.name, one.owner) != one.owner:
            raise TraitError(
                f"{path}: the trait {one.name!r} has two owners, {one.owner} here and {owners[one.name]} "
                "before: a trait has one"
            )
    return owners
