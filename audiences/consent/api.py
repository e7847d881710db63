"""HTTP routes of consent and of the suppression list. Addresses come in bodies: paths end up in logs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from audiences.addresses import AddressKind
from audiences.consent.models import (
    Channel,
    Consent,
    ConsentState,
    Reason,
    Wording,
    known_wording,
    moment,
    name,
    wording,
)
from audiences.consent.service import Consents, Listed
from audiences.errors import ConsentRefused
from audiences.texts import fit
from storage.clock import Clock
from storage.engine import Database

_MAX_WORDS = 100
_MAX_WORDING = 20_000


class WordingShown(BaseModel):
    """What the user was shown: the text itself, or the SHA-256 of it."""

    model_config = ConfigDict(extra="forbid")

    id: str
    version: str
    text: Annotated[str, Field(max_length=_MAX_WORDING)] | None = None
    hash: str | None = None

    def read(self) -> Wording:
        """Return the wording with its hash."""
        if (self.text is None) == (self.hash is None):
            raise ConsentRefused("a wording has either `text` or `hash`: send one of them")
        if self.text is not None:
            return wording(self.id, self.version, self.text)
        return known_wording(self.id, self.version, self.hash or "")


class Word(BaseModel):
    """Granted or denied, for a purpose, on a channel; `any` covers all of them."""

    model_config = ConfigDict(extra="forbid")

    purpose: str
    channel: Channel
    state: ConsentState
    at: AwareDatetime | None = None
    wording: WordingShown | None = None


class Words(BaseModel):
    """What a user said, and where."""

    model_config = ConfigDict(extra="forbid")

    source: str = "api"
    consents: list[Word] = Field(min_length=1, max_length=_MAX_WORDS)


class Address(BaseModel):
    """An e-mail address or phone number."""

    model_config = ConfigDict(extra="forbid")

    kind: AddressKind
    address: Annotated[str, Field(max_length=320)]


class Suppressed(Address):
    """An address that may not be written to, and why."""

    reason: Reason
    at: AwareDatetime | None = None


class Suppressions(BaseModel):
    """Addresses for the suppression list, or off it."""

    model_config = ConfigDict(extra="forbid")

    source: str = "api"
    addresses: list[Suppressed] = Field(min_length=1, max_length=_MAX_WORDS)


def router(
    database: Database, clock: Clock, consents: Consents, canonical: Callable[[str], str] = str
) -> APIRouter:
    """Return the routes; `canonical` says under which id a user's person goes."""
    routes = APIRouter(prefix="/v1", tags=["consent"])

    @routes.get("/users/{user_id}/consents")
    def show_consents(user_id: str) -> dict[str, Any]:
        """What a user agreed to and refused, what counts now, and the latest of all that was ever said."""
        said, facts = consents.of(fit(user_id, "the user's id"))
        return {
            "user_id": canonical(user_id),
            "consents": [msgspec.to_builtins(one) for one in said],
            "history": [
                {
                    "user_id": fact.user_id,
                    "state": fact.label,
                    "at": fact.occurred_at,
                    "recorded_at": fact.recorded_at,
                    **msgspec.json.decode(fact.body),
                }
                for fact in facts
            ],
        }

    @routes.put("/users/{user_id}/consents")
    def say(user_id: str, words: Words) -> dict[str, Any]:
        """Record what a user said; for each purpose and channel the latest word counts."""
        now, source = clock.now(), name(words.source, "source")
        said = [
            Consent(
                fit(user_id, "the user's id"),
                name(one.purpose, "purpose"),
                one.channel,
                one.state,
                moment(one.at, now),
                source,
                one.wording.read() if one.wording else None,
            )
            for one in words.consents
        ]
        new = consents.say(said)
        return {"recorded": sum(new), **show_consents(user_id)}

    @routes.post("/suppressions")
    def suppress(wish: Suppressions) -> dict[str, int]:
        """Put addresses on the suppression list: nothing is sent to them."""
        return {"recorded": sum(consents.suppress(_listed(wish), name(wish.source, "source")))}

    @routes.post("/suppressions/lift")
    def lift(wish: Suppressions) -> dict[str, int]:
        """Take addresses off the suppression list, for the reason given; other reasons stay."""
        return {"recorded": sum(consents.suppress(_listed(wish), name(wish.source, "source"), lift=True))}

    @routes.post("/suppressions/check")
    def check(address: Address) -> dict[str, Any]:
        """Say whether an address is on the suppression list, and why."""
        with database.read() as connection:
            reasons = consents.suppressed(connection, address.kind, address.address)
        return {"suppressed": bool(reasons), "reasons": reasons}

    def _listed(wish: Suppressions) -> list[Listed]:
        now = clock.now()
        return [Listed(one.kind, one.address, one.reason, moment(one.at, now)) for one in wish.addresses]

    return routes
