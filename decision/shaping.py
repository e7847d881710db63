"""Changes guards and costs while the service runs, for every process: checked as the library's files are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from playbooks.constraints.documents import Fatigue
from playbooks.errors import DraftChanged, MoveRefused
from playbooks.guards import LoyalGuard
from playbooks.library import Library
from playbooks.library.house_rules import constraints_of
from playbooks.library.problems import Problem, refuse
from playbooks.shaping import Costs, Shaping, keep_shaping, read_file, shaping_of
from playbooks.suggesting import closest
from storage.clock import Clock
from storage.engine import Database
from storage.writer import Lane

Match = Annotated[str | None, Header(alias="If-Match", description="The ETag of what is changed.")]


class ShapingBody(BaseModel):
    """All guards and all costs that are to hold, and why."""

    model_config = ConfigDict(extra="forbid")

    guards: list[LoyalGuard]
    costs: Costs
    why: str = Field(default="", max_length=2000, pattern=r"^[^\x00]*$")


class Shapings:
    """What shapes offers and prices, over one database."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        library: Callable[[], Library],
        audiences: Callable[[], Collection[str]],
    ) -> None:
        """`library` returns what is served, `audiences` the names that guards may speak of."""
        self._database, self._clock = database, clock
        self._library, self._audiences = library, audiences

    def now(self) -> tuple[int, Shaping]:
        """Return the version that holds, and what it says."""
        with self._database.read() as connection:
            return shaping_of(connection)

    def change(self, new: Shaping, etag: str | None, by: str, why: str = "") -> int:
        """Let guards and costs hold from the next decision on; return their version.

        Args:
            etag: of the version that was read; None: whatever holds is replaced.

        Raises:
            LibraryError: a guard names no audience, or what is served needs a cost that is missing.
            DraftChanged: somebody else has changed them since.
        """
        now = self._clock.now()

        def work(connection: Connection) -> int:
            version, _ = shaping_of(connection)
            if etag is not None and etag != etag_of(version):
                raise DraftChanged(
                    f"guards and costs are version {version} by now: read them again, with GET /v1/shaping",
                    etag_of(version),
                )
            self._check(connection, new)
            return keep_shaping(connection, new, by, now, why)

        return self._database.write(work, rows=3, lane=Lane.REQUEST)

    def take_back(self, name: str, before: Any, after: Any, by: str, why: str) -> None:
        """Let what held before a change hold again; the other of both stays as it is.

        Args:
            name: `guards` or `costs`, of which the change made `after` out of `before`, as JSON has them.

        Raises:
            LibraryError: what held before names an audience that is gone, or has no cost that is needed now.
            MoveRefused: somebody has changed them since.
        """
        now = self._clock.now()

        def work(connection: Connection) -> None:
            holds = shaping_of(connection)[1].said()
            if holds[name] != after:
                raise MoveRefused(f"other {name} hold by now: take the later change back first")
            earlier = Shaping.model_validate({**holds, name: before})
            self._check(connection, earlier)
            keep_shaping(connection, earlier, by, now, why)

        self._database.write(work, rows=2, lane=Lane.REQUEST)

    def _check(self, connection: Connection, new: Shaping) -> None:
        refuse([*self._unknown(new), *self._free(connection, new)], "guards and costs were not changed")

    def _unknown(self, new: Shaping) -> Iterator[Problem]:
        known = self._audiences()
        for place, guard in enumerate(new.guards):
            for field, name in (("loyal", guard.loyal), ("newer", guard.newer)):
                if name not in known:
                    yield Problem(
                        "shaping", f"no audience {name!r}{closest(name, known)}", f"guards.{place}.{field}"
                    )

    def _free(self, connection: Connection, new: Shaping) -> Iterator[Problem]:
        """Yield currencies of which nothing would say what they cost, though something is told in them."""
        _, rules = constraints_of(connection)
        used = {one.id: one.cost.currency for one in rules if isinstance(one, Fatigue)}
        for playbook in self._library().playbooks:
            document = playbook.document
            tiring = [one for one in document.constraints if isinstance(one, Fatigue)]
            used |= {f"{playbook.id}.{one.id}": one.cost.currency for one in tiring}
            if (exploring := document.exploration_budget) is not None:
                used[f"{playbook.id}.exploration_budget"] = exploring.amount.currency
        for name, currency in sorted(used.items()):
            if not new.costs.get(currency):
                message = f"{name} is told in {currency}, so that has to cost something"
                yield Problem("shaping", message, f"costs.{currency}")


def from_file(database: Database, clock: Clock, said: Shaping) -> Shaping:
    """Let hold what the library's file says, if it says something else than at the last start."""
    now = clock.now()
    return database.write(lambda connection: read_file(connection, said, now))


def etag_of(version: int) -> str:
    """Return the entity tag of a version."""
    return f'"{version}"'


def router(shapings: Shapings, name_of: Callable[[Request], str], served: Callable[[], None]) -> APIRouter:
    """Return the routes; `served` is called after a change."""
    routes = APIRouter(prefix="/v1/shaping", tags=["policies"])

    def told(response: Response) -> dict[str, Any]:
        version, shaping = shapings.now()
        response.headers["ETag"] = etag_of(version)
        return {"version": version, **shaping.said()}

    @routes.get("")
    def show_shaping(response: Response) -> dict[str, Any]:
        """Guards and costs as they hold; the ETag says which version they are."""
        return told(response)

    @routes.put("")
    def change_shaping(
        body: ShapingBody, request: Request, response: Response, if_match: Match = None
    ) -> dict[str, Any]:
        """Change guards and costs; they hold in every process within a second, here at once."""
        new = Shaping(guards=body.guards, costs=body.costs)
        shapings.change(new, if_match, name_of(request), body.why)
        served()
        return told(response)

    return routes
