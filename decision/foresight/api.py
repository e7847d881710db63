"""HTTP routes of what is seen beforehand."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from decision.foresight.calendars import Ahead
from decision.foresight.linting import Members, lint_library
from decision.foresight.rehearsing import Wanted
from decision.foresight.standing_by import foresight_of
from decision.wiring import Service
from playbooks.library import Draft, Library
from playbooks.lint import Finding


class RehearseBody(BaseModel):
    """What to rehearse: a version, or the draft; without either the version that is served, else the newest.

    `sample` users are asked about by the policy in charge, `shown` of the audience are told of; `seed` draws
    both.
    """

    model_config = ConfigDict(extra="forbid")

    version: int | None = Field(default=None, ge=1, le=999_999_999)
    draft: bool = False
    sample: int = Field(default=2_000, ge=1, le=50_000)
    shown: int = Field(default=5, ge=0, le=100)
    seed: str = Field(default="rehearsal", max_length=200)

    @model_validator(mode="after")
    def _one(self) -> RehearseBody:
        if self.draft and self.version is not None:
            raise ValueError("draft and version name two things to rehearse: give one of them")
        return self


def router(service: Service) -> APIRouter:
    """Return the routes that say what would come of what is live, or is to be."""
    routes = APIRouter(prefix="/v1", tags=["playbooks"])
    foresight = foresight_of(service)

    @routes.get("/library/lint")
    def lint() -> dict[str, Any]:
        """What lint finds in what is live, held against users as they are."""
        return {"findings": msgspec.to_builtins(live_findings(service))}

    @routes.post("/playbooks/{playbook}/rehearse")
    def rehearse(playbook: str, body: Annotated[RehearseBody | None, Body()] = None) -> dict[str, Any]:
        """Play a playbook over its audience as it is now: who, what, when, at what cost, what stops whom.

        Nothing is written and nobody is contacted.
        """
        asked = body or RehearseBody()
        return msgspec.to_builtins(  # type: ignore[no-any-return]
            foresight.rehearsals.rehearse(Wanted(playbook=playbook, **asked.model_dump()))
        )

    @routes.get("/library/calendar")
    def show_calendar(
        days: Annotated[int, Query(ge=1, le=62)] = 14,
        sample: Annotated[int, Query(ge=1, le=20_000, description="Users that are simulated.")] = 1_000,
        seed: Annotated[str, Query(max_length=200)] = "calendar",
    ) -> dict[str, Any]:
        """What is to be expected of all live playbooks in the coming days: volume, contacts, spend, breaches.

        Found out by simulating sampled users; nothing is written and nobody is contacted.
        """
        wanted = Ahead(days=days, sample=sample, seed=seed)
        return msgspec.to_builtins(foresight.calendars.ahead(wanted))  # type: ignore[no-any-return]

    return routes


def live_findings(service: Service) -> list[Finding]:
    """Return what lint finds in what is live."""
    return lint_library(
        service.files,
        service.settings.library_folder,
        service.clock.now(),
        draft=live_draft(service.files.draft, service.decider.snapshot.library),
        database=service.database,
        users=Members(service.audiences.memberships),
    )


def live_draft(folder: Draft, library: Library) -> Draft:
    """Return what is live as documents, with the offers and contents of the folder that nobody uses."""
    return Draft(
        tuple(one.document for one in library.playbooks),
        {**folder.offers, **library.offers},
        {**folder.contents, **library.contents},
        constraints=tuple(library.rules.constraints),
    )
