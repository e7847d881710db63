"""`traits.yaml`: who owns which trait, as `crm.yaml` may say too; which traits of accounts rules name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import Field, field_validator

from audiences.errors import TraitError
from audiences.library_files import Document, read_document
from audiences.traits.models import SOURCES
from feature_repo.schema import Name, Scalar

# Rules call by it where an account stands in a lifecycle.
_STAGE = "stage"


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


class AccountTraitSpec(Document):
    """A trait of accounts that rules may name, `account.tier`; values of another type are null."""

    name: Name
    type: Scalar


class _File(Document):
    traits: list[TraitSpec] = Field(default_factory=list)
    account_traits: list[AccountTraitSpec] = Field(default_factory=list)


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


def read_account_traits(path: Path, features: Collection[str]) -> Mapping[str, Scalar]:
    """Return the traits of accounts that rules may name, and their types.

    Args:
        features: what rules call features, which traits must not be called too.

    Raises:
        TraitError: a field is wrong, or a name is taken.
    """
    found: dict[str, Scalar] = {}
    for one in read_document(path, _File, TraitError).account_traits:
        place = f"{path}: account_traits: {one.name!r}"
        if one.name in found:
            raise TraitError(f"{place} is there twice")
        if one.name == _STAGE or f"account.{one.name}" in features:
            raise TraitError(
                f"{place}: rules know account.{one.name} as "
                f"{'a stage' if one.name == _STAGE else 'a feature'} already; call one of them otherwise"
            )
        found[one.name] = one.type
    return found
