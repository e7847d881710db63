"""HTTP routes of what is seen beforehand."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter

from decision.foresight.linting import Members, lint_library
from decision.wiring import Service
from playbooks.library import Draft, Library


def router(service: Service) -> APIRouter:
    """Return the routes that say what is doubtful about what is live."""
    routes = APIRouter(prefix="/v1", tags=["playbooks"])

    @routes.get("/library/lint")
    def lint() -> dict[str, Any]:
        """What lint finds in what is live, held against users as they are."""
        findings = lint_library(
            service.files,
            service.settings.library_folder,
            service.clock.now(),
            draft=live_draft(service.files.draft, service.decider.snapshot.library),
            database=service.database,
            users=Members(service.audiences.memberships),
        )
        return {"findings": msgspec.to_builtins(findings)}

    return routes


def live_draft(folder: Draft, library: Library) -> Draft:
    """Return what is live as documents, with the offers and contents of the folder that nobody uses."""
    return Draft(
        tuple(one.document for one in library.playbooks),
        {**folder.offers, **library.offers},
        {**folder.contents, **library.contents},
    )
