"""HTTP routes of the library: what there is, drafts, versions and their differences, moves, imports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Body, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from playbooks.errors import LibraryError
from playbooks.library import views
from playbooks.library.lifecycle import MOVES, SERVED, State
from playbooks.library.pilots import Pilots
from playbooks.library.problems import Problem, refuse
from playbooks.library.reading import Source, assemble, document_of, sources_of
from playbooks.library.schema import SCHEMAS, schema_of
from playbooks.library.service import LibraryService
from playbooks.library.serving import Library
from playbooks.lint import Finding
from playbooks.models import Playbook

MAX_LIBRARY_BYTES = 32 * 1024 * 1024

Match = Annotated[str | None, Header(alias="If-Match", description="The ETag of the draft that was read.")]
Kind = Literal[
    "playbook", "offers", "contents", "constraints", "windows", "approval", "test_users", "protection"
]
Side = Annotated[str, Query(pattern=r"^(draft|served|[1-9][0-9]{0,8})$")]


class MoveBody(BaseModel):
    """Why something is moved, and which version; without one, the newest that the move can be about."""

    model_config = ConfigDict(extra="forbid")

    version: int | None = Field(default=None, ge=1)
    why: str = Field(default="", max_length=2000, pattern=r"^[^\x00]*$")


class LibraryBody(BaseModel):
    """A library as one document, with what there is in each of the files.

    Without `windows` or `constraints` those that were kept hold.
    """

    model_config = ConfigDict(extra="forbid")

    offers: list[Any] = []
    contents: list[Any] = []
    windows: dict[str, Any] | None = None
    playbooks: list[Any] = []
    constraints: list[Any] | None = None
    publish: bool = False

    @model_validator(mode="after")
    def _something(self) -> LibraryBody:
        if not self.playbooks and self.constraints is None and self.windows is None:
            raise ValueError("there are no playbooks, constraints or windows in it")
        return self


def router(
    library: LibraryService,
    pilots: Pilots,
    served: Callable[[], Library],
    who: Callable[[Request], str],
    changed: Callable[[], None],
    lint: Callable[[str], Sequence[Finding]],
) -> APIRouter:
    """Return the routes of the library.

    Args:
        served: the library that decisions are made from.
        who: does what a request asks for.
        changed: called after something was moved, so that it is served at once.
        lint: what lint finds in a playbook that is served.
    """
    routes = APIRouter(prefix="/v1", tags=["playbooks"])
    _add_lists(routes, library, pilots, served)
    _add_drafts(routes, library, who)
    _add_moves(routes, library, who, changed, lint)
    _add_imports(routes, library, who, changed)
    return routes


def _add_lists(
    routes: APIRouter, library: LibraryService, pilots: Pilots, served: Callable[[], Library]
) -> None:

    @routes.get("/playbooks")
    def list_playbooks(
        state: Annotated[State | None, Query(description="Only those with a version in this state.")] = None,
        label: Annotated[str | None, Query(max_length=64)] = None,
        owner: Annotated[str | None, Query(max_length=200)] = None,
    ) -> list[dict[str, Any]]:
        """Every playbook: its version that is served, else the newest, and where all stand."""
        return views.listing(library, served(), state=state, label=label, owner=owner)

    @routes.get("/playbooks/{playbook}")
    def show_playbook(playbook: str) -> dict[str, Any]:
        """A playbook: the version that is served, else the newest, with its arms; and its draft, if any."""
        return views.detail(library, playbook)

    @routes.get("/playbooks/{playbook}/versions")
    def list_versions(playbook: str) -> list[dict[str, Any]]:
        """All versions, newest first: where each stands, who made and approved it, and why."""
        return [views.standing(one) for one in library.versions(playbook)]

    @routes.get("/playbooks/{playbook}/versions/{version}")
    def show_version(playbook: str, version: int) -> dict[str, Any]:
        """A version with the offers and contents it uses, and its arms."""
        one, body = library.version(playbook, version)
        return {**views.standing(one), **views.body(body)}

    @routes.get("/playbooks/{playbook}/flow")
    def show_flow(
        playbook: str, version: Annotated[int | None, Query(ge=1, description="Else the one served.")] = None
    ) -> dict[str, Any]:
        """The flow of a playbook: its states, what leads from one to the next, and a Mermaid flowchart."""
        return views.flow(library, playbook, version)

    @routes.get("/playbooks/{playbook}/pilot")
    def show_pilot(playbook: str) -> dict[str, Any]:
        """How the pilot of a playbook stands, or what the last one came to: its test, figures and verdict."""
        one, verdict = pilots.report(playbook)
        return {**views.standing(one), "report": msgspec.to_builtins(verdict)}

    @routes.get("/playbooks/{playbook}/diff")
    def show_differences(
        playbook: str,
        before: Annotated[Side, Query(alias="from")] = "served",
        after: Annotated[Side, Query(alias="to")] = "draft",
    ) -> dict[str, Any]:
        """What differs between two of: a version by its number, the one that is `served`, the `draft`."""
        changes = library.diff(playbook, before, after)
        return {"changes": msgspec.to_builtins(changes), "text": [str(one) for one in changes]}

    @routes.get("/constraints")
    def show_constraints() -> dict[str, Any]:
        """The constraints for all playbooks as they hold, and their version."""
        return views.constraints(*library.rules.current())

    @routes.get("/constraints/versions")
    def list_constraints() -> list[dict[str, Any]]:
        """The versions of the constraints, newest first: when each was made, and by whom."""
        return library.rules.versions()

    @routes.get("/constraints/versions/{version}")
    def show_constraints_version(version: int) -> dict[str, Any]:
        """The constraints of a version."""
        return views.constraints(*library.rules.of(version))

    @routes.get("/library/schemas/{name}")
    def show_schema(
        name: Kind,
    ) -> dict[str, Any]:
        """The JSON Schema of a kind of file."""
        return schema_of(SCHEMAS[name])


def _add_drafts(routes: APIRouter, library: LibraryService, who: Callable[[Request], str]) -> None:

    @routes.get("/playbooks/{playbook}/draft")
    def show_draft(playbook: str, response: Response) -> dict[str, Any]:
        """The draft; the ETag says which revision it is."""
        found = library.draft(playbook)
        response.headers["ETag"] = found.etag
        return views.open_draft(found)

    @routes.put("/playbooks/{playbook}/draft")
    def save_draft(
        request: Request,
        response: Response,
        playbook: str,
        body: Annotated[dict[str, Any], Body()],
        if_match: Match = None,
    ) -> dict[str, Any]:
        """Save the draft; one that is there already is changed with its ETag in If-Match."""
        problems: list[Problem] = []
        source = Source(f"playbooks/{playbook}", {"id": playbook, **body})
        document = document_of(source, Playbook, problems)
        refuse(problems, "the draft was not saved")
        if document is None or document.id != playbook:
            raise LibraryError(f"the body is of another playbook than the path, {playbook!r}")
        saved = library.save(document, if_match, who(request))
        response.headers["ETag"] = saved.etag
        return views.open_draft(saved)

    @routes.delete("/playbooks/{playbook}/draft", status_code=204)
    def discard_draft(playbook: str, if_match: Match = None) -> None:
        """Forget the draft."""
        library.discard(playbook, if_match)


def _add_moves(
    routes: APIRouter,
    library: LibraryService,
    who: Callable[[Request], str],
    changed: Callable[[], None],
    lint: Callable[[str], Sequence[Finding]],
) -> None:
    for move in MOVES.values():
        routes.add_api_route(
            f"/playbooks/{{playbook}}/{move.name}",
            _route_of(move.name, library, who, changed, lint),
            methods=["POST"],
            name=f"{move.name}_playbook",
            description=f"{move.why[0].upper()}{move.why[1:]}. 202: a second person has to approve it first.",
        )


def _route_of(
    move: str,
    library: LibraryService,
    who: Callable[[Request], str],
    changed: Callable[[], None],
    lint: Callable[[str], Sequence[Finding]],
) -> Callable[..., dict[str, Any]]:
    # Each move has a route of its own: it is by the route that a key is let through.
    def make(
        request: Request, response: Response, playbook: str, body: Annotated[MoveBody | None, Body()] = None
    ) -> dict[str, Any]:
        said = body or MoveBody()
        moved = library.move(playbook, move, who(request), said.why, said.version)
        if moved.state is State.IN_REVIEW:
            response.status_code = 202
        changed()
        told = views.standing(moved)
        if move == "publish" and moved.state in SERVED:
            # It is live all the same: lint may be wrong about what is meant.
            told["warnings"] = [str(one) for one in lint(playbook)]
        return told

    return make


def _add_imports(
    routes: APIRouter,
    library: LibraryService,
    who: Callable[[Request], str],
    changed: Callable[[], None],
) -> None:

    @routes.post("/library/validate")
    def validate_library(body: LibraryBody) -> dict[str, Any]:
        """Everything that is wrong with a library, without importing it."""
        problems: list[Problem] = []
        draft = assemble(sources_of(body.model_dump()), problems)
        problems = problems or list(library.problems(draft))
        return {"valid": not problems, "problems": msgspec.to_builtins(problems)}

    @routes.post("/library/import")
    def import_library(request: Request, body: LibraryBody) -> dict[str, Any]:
        """Import a library, all of it or nothing; with `publish`, serve what needs no second person."""
        problems: list[Problem] = []
        draft = assemble(sources_of(body.model_dump()), problems)
        refuse(problems, "nothing was imported")
        done = library.import_(draft, by=who(request), source="api", publish=body.publish)
        changed()
        return msgspec.to_builtins(done)  # type: ignore[no-any-return]

    @routes.get("/library/export")
    def export_library() -> dict[str, Any]:
        """What is served, as one document that can be imported elsewhere."""
        return library.export()
