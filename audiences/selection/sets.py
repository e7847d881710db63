"""Set algebra over audiences: all of any of some, those in each of some, without those in others."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pyroaring import BitMap

MAX_DEPTH = 16

_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]


class SetSpec(BaseModel):
    """`union` or `intersect` of audiences or of further sets, without those in any of `except`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    union: Annotated[list[_Name | SetSpec], Field(min_length=1, max_length=100)] | None = None
    intersect: Annotated[list[_Name | SetSpec], Field(min_length=1, max_length=100)] | None = None
    without: Annotated[list[_Name | SetSpec], Field(alias="except", max_length=100)] = []

    @model_validator(mode="after")
    def _one_of_both(self) -> SetSpec:
        if (self.union is None) == (self.intersect is None):
            raise ValueError("a set has either `union` or `intersect`, beside `except` where there is one")
        if self.depth() > MAX_DEPTH:
            raise ValueError(f"sets are nested more than {MAX_DEPTH} deep; make audiences of their parts")
        return self

    @property
    def parts(self) -> list[str | SetSpec]:
        """What is joined."""
        return [*(self.union or self.intersect or [])]

    def depth(self) -> int:
        """How many sets deep."""
        inner = [part.depth() for part in (*self.parts, *self.without) if isinstance(part, SetSpec)]
        return 1 + max(inner, default=0)

    def names(self) -> frozenset[str]:
        """The audiences that are used, at any depth."""
        found: set[str] = set()
        for part in (*self.parts, *self.without):
            found |= {part} if isinstance(part, str) else part.names()
        return frozenset(found)

    def members(self, of: Callable[[str], BitMap]) -> BitMap:
        """Who is in the set, given who is in each audience."""
        joined = [_members(part, of) for part in self.parts]
        kept = BitMap.union(*joined) if self.union is not None else BitMap.intersection(*joined)
        return reduce(lambda left, right: left - right, (_members(part, of) for part in self.without), kept)


def _members(part: str | SetSpec, of: Callable[[str], BitMap]) -> BitMap:
    return of(part) if isinstance(part, str) else part.members(of)
