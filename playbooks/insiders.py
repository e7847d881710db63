"""People of the house: test users, and seeds who get proofs. Nothing is learned from them."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

from pydantic import Field, model_validator

from playbooks.content.documents import Language
from playbooks.document import Document

UserId = Annotated[str, Field(min_length=1, max_length=255)]


class Seed(Document):
    """Somebody who gets the messages of a playbook before others do, in some languages or in all."""

    user_id: UserId
    languages: Annotated[list[Language], Field(max_length=50)] = []


class Insiders(Document):
    """What `test_users.yaml` says. Seeds are test users too."""

    test_users: Annotated[list[UserId], Field(max_length=1_000)] = []
    seeds: Annotated[list[Seed], Field(max_length=100)] = []

    @model_validator(mode="after")
    def _once(self) -> Insiders:
        named = [one.user_id for one in self.seeds]
        for name, listed in (("test_users", self.test_users), ("seeds", named)):
            if doubles := sorted({one for one in listed if listed.count(one) > 1}):
                raise ValueError(f"{name} lists {', '.join(doubles)} more than once")
        return self

    @cached_property
    def everybody(self) -> frozenset[str]:
        """The ids of all of them, as they are written."""
        return frozenset([*self.test_users, *(one.user_id for one in self.seeds)])
