"""HTTP routes of audiences: what they are and who is in them, drafts counted, edits, lists, tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.concurrency import run_in_threadpool

from audiences.definitions import AudienceSpec
from audiences.errors import AudienceError, ContentTooLarge, MatchMissing
from audiences.library_files import told
from audiences.selection.counting import Count, Counting
from audiences.selection.labelled import Labelled
from audiences.selection.lists import MAX_BYTES, Lists
from audiences.selection.looking import MAX_SHOWN, Looking
from audiences.selection.service import Audiences
from audiences.selection.sets import SetSpec
from audiences.selection.why import why
from storage.clock import Clock
from storage.engine import Database

_CSV: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}
}
By = Annotated[str, Query(min_length=1, max_length=200, description="Who does it.")]
Match = Annotated[str | None, Header(alias="If-Match", description="The ETag of what is changed.")]


class Draft(BaseModel):
    """A rule or sets to be counted."""

    model_config = ConfigDict(extra="forbid")

    rule: str | None = None
    sets: SetSpec | None = None

    @model_validator(mode="after")
    def _one(self) -> Draft:
        if (self.rule is None) == (self.sets is None):
            raise ValueError("send either `rule` or `sets`")
        return self


class Overlap(BaseModel):
    """Audiences to be laid over each other."""

    model_config = ConfigDict(extra="forbid")

    audiences: Annotated[list[str], Field(max_length=100)]


def router(
    database: Database, clock: Clock, audiences: Audiences, counted: Callable[[str], Count | None]
) -> APIRouter:
    """Return the routes of audiences; `counted` asks another process to count a rule, if it can."""
    routes = APIRouter(prefix="/v1/audiences", tags=["audiences"])
    looking = Looking(database, audiences)
    _add_looking(routes, audiences, looking)
    _add_count(routes, clock, Counting(database, audiences, counted))
    _add_why(routes, database, clock, audiences)
    _add_edits(routes, clock, audiences, looking)
    _add_files(routes, database, clock, audiences)
    return routes


def _add_looking(routes: APIRouter, audiences: Audiences, looking: Looking) -> None:

    @routes.get("")
    def list_audiences() -> list[dict[str, Any]]:
        """Every audience with its definition, size, freshness and the last run."""
        return looking.all()

    @routes.post("/overlap")
    def overlap(asked: Overlap) -> dict[str, Any]:
        """How many users audiences share."""
        return looking.overlap(asked.audiences)

    @routes.get("/{audience}")
    def show_audience(audience: str, response: Response) -> dict[str, Any]:
        """An audience; the ETag says which version it is."""
        response.headers["ETag"] = _etag(audiences, audience)
        return looking.one(audience)

    @routes.get("/{audience}/history")
    def show_history(audience: str) -> list[dict[str, Any]]:
        """All versions made over the API, newest first."""
        return [
            {
                "version": one.version,
                "made_at": one.made_at,
                "made_by": one.made_by,
                "definition": None
                if one.body is None
                else AudienceSpec.model_validate_json(one.body).document(),
            }
            for one in audiences.catalogs.history(audience)
        ]

    @routes.get("/{audience}/members")
    def sample_members(
        audience: str,
        size: Annotated[int, Query(ge=1, le=MAX_SHOWN)] = 20,
        seed: Annotated[str, Query(max_length=100)] = "0",
    ) -> dict[str, Any]:
        """Some members, drawn at random by the seed."""
        return looking.sample(audience, size, seed)


def _add_why(routes: APIRouter, database: Database, clock: Clock, audiences: Audiences) -> None:

    @routes.get("/{audience}/members/{user_id}")
    def explain_member(audience: str, user_id: str) -> dict[str, Any]:
        """Whether a user is in an audience, and which part of its rule decides that now."""
        return why(database, audiences, audience, user_id, clock.now())


def _add_count(routes: APIRouter, clock: Clock, counting: Counting) -> None:

    @routes.post("/count")
    def count_draft(draft: Draft) -> dict[str, Any]:
        """How many users a draft would select now."""
        counted = counting.count(draft.rule, draft.sets, clock.now())
        return {
            "count": counted.selected,
            "users": counted.users,
            "as_of": counted.as_of,
            "sampled": counted.sampled,
            "interval": [counted.low, counted.high],
        }


def _add_edits(routes: APIRouter, clock: Clock, audiences: Audiences, looking: Looking) -> None:
    catalogs = audiences.catalogs

    @routes.post("", status_code=201)
    def create_audience(
        spec: Annotated[AudienceSpec, Body()], response: Response, by: By = "api"
    ) -> dict[str, Any]:
        """Make an audience; its members are found by the next evaluation."""
        response.headers["ETag"] = catalogs.create(spec, by, clock.now())
        return looking.one(spec.id)

    @routes.put("/{audience}")
    def change_audience(
        audience: str,
        response: Response,
        body: Annotated[dict[str, Any], Body()],
        by: By = "api",
        if_match: Match = None,
    ) -> dict[str, Any]:
        """Make a new version of an audience. What is wrong changes nothing."""
        etag = _match(if_match)
        try:
            spec = AudienceSpec.model_validate({"id": audience, **body})
        except ValidationError as error:
            raise AudienceError(told(error)) from error
        if spec.id != audience:
            raise AudienceError(f"the body is of the audience {spec.id!r}, the path of {audience!r}")
        response.headers["ETag"] = catalogs.change(spec, etag, by, clock.now())
        return looking.one(audience)

    @routes.delete("/{audience}", status_code=204)
    def retire_audience(audience: str, by: By = "api", if_match: Match = None) -> None:
        """Let an audience end; its versions are kept."""
        catalogs.retire(audience, _match(if_match), by, clock.now())


def _add_files(routes: APIRouter, database: Database, clock: Clock, audiences: Audiences) -> None:
    lists = Lists(database, audiences.catalogs, audiences.canonical)
    labelled = Labelled(database, audiences)

    @routes.put("/{audience}/list", openapi_extra=_CSV)
    async def upload_list(request: Request, audience: str, by: By = "api") -> dict[str, Any]:
        """Replace the members of a list by a CSV of ids."""
        body = await _body(request)
        taken = await run_in_threadpool(lists.upload, audience, body, by, clock.now())
        return taken._asdict()

    @routes.post("/{audience}/test", openapi_extra=_CSV)
    async def test_audience(request: Request, audience: str) -> dict[str, Any]:
        """Judge an audience by labelled users, a CSV of `user_id,expected`."""
        body = await _body(request)
        return await run_in_threadpool(labelled.judge, audience, body, clock.now())


def _etag(audiences: Audiences, audience: str) -> str:
    catalog = audiences.catalogs.read()
    catalog.spec(audience)
    return catalog.etags[audience]


def _match(if_match: str | None) -> str:
    if if_match is None:
        raise MatchMissing("send the ETag of the version you change in If-Match; GET answers with it")
    return if_match.strip()


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise ContentTooLarge(f"the file has more than {MAX_BYTES} bytes; send fewer users at a time")
    return bytes(body)
