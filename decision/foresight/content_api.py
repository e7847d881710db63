"""HTTP routes of contents and their versions, and of messages before they go out: previews, and proofs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Query, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from decision.foresight.previewing import Previews
from decision.wiring import Service
from playbooks.content.documents import Language
from playbooks.content.repository import ContentVersion
from playbooks.library.contents import LibraryContents


class Shown(BaseModel):
    """Which of a playbook is meant: a version, or the draft."""

    model_config = ConfigDict(extra="forbid")

    version: int | None = Field(default=None, ge=1, le=999_999_999)
    draft: bool = False

    @model_validator(mode="after")
    def _one(self) -> Shown:
        if self.draft and self.version is not None:
            raise ValueError("draft and version name two things to show: give one of them")
        return self

    @property
    def side(self) -> str:
        """What is shown, as the library calls it."""
        return "draft" if self.draft else str(self.version or "served")


class PreviewBody(Shown):
    """For whom, in which languages: without a user for the sample, without languages in all there are.

    A version, or the draft; without either the version that is served, else the newest.
    """

    user_id: str | None = Field(default=None, min_length=1, max_length=255)
    languages: list[Language] = Field(default=[], max_length=20)


class ProofBody(Shown):
    """Which version, and which of its variants; all, where none is named."""

    variants: list[str] = Field(default=[], max_length=64)


def router(service: Service, who: Callable[[Request], str]) -> APIRouter:
    """Return the routes; `who` does what a request asks for."""
    routes = APIRouter(prefix="/v1", tags=["playbooks"])
    previews = Previews(
        service.database,
        service.clock,
        service.library,
        service.files.vocabulary,
        service.recipients,
        service.identity.lookup.canonical,
        service.channels,
    )

    _add_contents(routes, LibraryContents(service.database))

    @routes.post("/playbooks/{playbook}/preview")
    def preview(playbook: str, body: Annotated[PreviewBody | None, Body()] = None) -> dict[str, Any]:
        """Show every message of a playbook, as a user would get it, in every language; nothing is sent."""
        asked = body or PreviewBody()
        shown = previews.preview(playbook, asked.side, asked.user_id, asked.languages)
        return msgspec.to_builtins(shown)  # type: ignore[no-any-return]

    @routes.post("/playbooks/{playbook}/proof")
    def proof(
        request: Request, playbook: str, body: Annotated[ProofBody | None, Body()] = None
    ) -> dict[str, Any]:
        """Send every message of a playbook to the seeds of the library, in their languages or in all."""
        asked = body or ProofBody()
        sent = previews.prove(
            playbook, asked.side, service.files.insiders, who(request), variants=asked.variants
        )
        return {"proofs": msgspec.to_builtins(sent)}

    return routes


def _add_contents(routes: APIRouter, contents: LibraryContents) -> None:

    @routes.get("/contents")
    def list_contents() -> list[dict[str, Any]]:
        """Every content: its newest version, its languages and blocks, and the playbooks served with it."""
        return contents.listing()

    @routes.get("/contents/{content}")
    def show_content(
        content: str, version: Annotated[int | None, Query(ge=1, le=999_999_999)] = None
    ) -> dict[str, Any]:
        """A version of a content, without a number the newest, and which others there are."""
        one = contents.version(content, version)
        listed = [_made(each) for each in contents.versions(content)]
        return {**_made(one), "document": one.document.written(), "versions": listed}

    @routes.get("/contents/{content}/diff")
    def show_content_differences(
        content: str,
        before: Annotated[int, Query(alias="from", ge=1, le=999_999_999)],
        after: Annotated[int, Query(alias="to", ge=1, le=999_999_999)],
    ) -> dict[str, Any]:
        """What differs between two versions of a content."""
        changes = contents.diff(content, before, after)
        return {"changes": msgspec.to_builtins(changes), "text": [str(one) for one in changes]}


def _made(one: ContentVersion) -> dict[str, Any]:
    return {"id": one.content, "version": one.version, "made_at": one.made_at, "made_by": one.made_by}
