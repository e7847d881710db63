"""What the library is made of: offers, content, goals, constraints, variants, playbooks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from playbooks.flow import Flow

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]

# "Do nothing" takes part in every draw under this id.
DO_NOTHING = "do_nothing"


class Document(BaseModel):
    """A part of a library file: unknown fields are refused, values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Offer(Document):
    """What is given. `attributes` describe it to the value model and to rules (`arm.<attribute>`)."""

    id: Name
    name: str
    kind: Literal["content_only"] = "content_only"
    attributes: dict[str, str] = {}
    valid_for: timedelta = timedelta(days=14)


class Content(Document):
    """What a message says; Liquid templates over `user_id`, `offer` and `arm`."""

    id: Name
    subject: str
    body: str


class Goal(Document):
    """The event that counts as success within `window` of the decision; the first one is worth `value`."""

    event: str
    where: str | None = None
    window: timedelta
    value: float = 1.0


class Cap(Document):
    """At most `limit` uses of this playbook for one user in any span of `window`."""

    id: Name
    limit: int = Field(ge=1)
    window: timedelta


class VariantSet(Document):
    """One variant for every offer that has this `group` attribute, all on one channel with one content."""

    group: str
    channel: Name
    content: Name


class Playbook(Document):
    """A plan. `version` is given by the library: it grows whenever the content changes."""

    id: Name
    name: str
    notes: str = ""
    placement: Name
    audience: Name | None = None
    priority: int = 0
    weight: float = Field(default=1.0, ge=0.0, le=1000.0)
    goal: Goal
    variants: list[VariantSet] = Field(min_length=1)
    constraints: list[Cap] = []
    flow: Flow


class Arm(msgspec.Struct, frozen=True):
    """One variant of one playbook as it competes in a draw; `id` is `playbook/offer`."""

    id: str
    playbook: str
    offer: str
    channel: str
    content: str
    attributes: Mapping[str, str]
