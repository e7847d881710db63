"""HTTP routes of scores: where a user stands and why, sales' answers, what predicted acceptance."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from audiences.identity.looking import Lookup
from audiences.scores.report import answers_of, predictors
from audiences.scores.service import Scores
from storage.engine import Database


class SalesAnswer(BaseModel):
    """What sales says to a hand-over."""

    model_config = ConfigDict(extra="forbid")

    accepted: bool
    by: Annotated[str, Field(min_length=1, max_length=255)]
    reason: Annotated[str, Field(max_length=2_000)] = ""


def router(database: Database, scores: Scores, lookup: Lookup) -> APIRouter:
    """Return the routes of scores."""
    routes = APIRouter(prefix="/v1", tags=["audiences"])

    @routes.get("/scores")
    def list_scores() -> list[dict[str, Any]]:
        """Every score as it is defined."""
        return [score.spec.model_dump(mode="json") for score in scores.definitions]

    @routes.get("/users/{user_id}/scores/{score}")
    def explain(user_id: str, score: str, limit: int = 200) -> dict[str, Any]:
        """Where a person stands in a score, and every point that counts."""
        return scores.explain(lookup.canonical(user_id), score, limit=min(max(limit, 1), 1_000))

    @routes.post("/users/{user_id}/scores/{score}/answer")
    def answer(user_id: str, score: str, answer: SalesAnswer) -> dict[str, Any]:
        """Take sales' answer to a hand-over: accepted, or rejected with the reason."""
        person = lookup.canonical(user_id)
        scores.answer(person, score, accepted=answer.accepted, by=answer.by, reason=answer.reason)
        return scores.explain(person, score)

    @routes.get("/scores/{score}/predictors")
    def report(score: str) -> dict[str, Any]:
        """Which lines of points predicted that sales accepts."""
        lines = scores.lines(score)
        with database.read() as connection:
            answers = answers_of(connection, score)
        accepted = sum(one.accepted for one in answers)
        return {
            "score": score,
            "answers": len(answers),
            "accepted": accepted,
            "lines": predictors(answers, lines),
        }

    return routes
