"""What shapes offers and prices at the next decision: guards and costs, kept in versions, swapped in flight.

`policy.yaml` says them, and so does whoever changes them while the service runs. What the file says holds
from the start at which it says something else than before; until then what was changed in flight goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from sqlalchemy import Connection

from playbooks.document import Document
from playbooks.guards import LoyalGuard
from playbooks.library import repository
from playbooks.library.changes import FOLDER
from playbooks.money import Money
from storage import ledger
from storage.ids import new_id
from storage.ledger import Kind, NewFact

KIND = "shaping"
# What the optimisation log calls a change of a setting, and the file that says these.
_LABEL, FILE = "setting", "policy.yaml"
_DIGITS = 8


def _are_currencies(costs: dict[str, float]) -> dict[str, float]:
    for currency in costs:
        Money(0, currency)
    return costs


# By currency what a minor unit of an arm's cost takes from its value, in units of reward.
Costs = Annotated[
    dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]], AfterValidator(_are_currencies)
]


class Shaping(Document):
    """Guards, asked before arms are scored, and what money costs."""

    guards: list[LoyalGuard] = []
    costs: Costs = {}

    def said(self) -> Mapping[str, Any]:
        """Return guards and costs as JSON has them."""
        return self.model_dump(mode="json", by_alias=True)


class CurrentShaping:
    """What holds, read again where there is a newer version. For one thread at a time."""

    def __init__(self) -> None:
        self._version = -1
        self._shaping = Shaping()

    def of(self, connection: Connection) -> Shaping:
        """Return what holds by the caller's transaction."""
        version = int(repository.latest_document_id(connection, KIND) or 0)
        if version != self._version:
            self._version, self._shaping = shaping_of(connection)
        return self._shaping


def shaping_of(connection: Connection) -> tuple[int, Shaping]:
    """Return the version that holds, and what it says; 0 and nothing where there never was any."""
    latest = repository.latest_document(connection, KIND)
    return (0, Shaping()) if latest is None else (int(latest[0]), Shaping.model_validate_json(latest[1]))


def holds_with(connection: Connection, said: Shaping) -> Shaping:
    """Return what holds once a file has said this: that, or if it said so before, what holds already."""
    last = repository.newest_document_by(connection, KIND, FOLDER)
    before = Shaping() if last is None else Shaping.model_validate_json(last)
    return shaping_of(connection)[1] if said == before else said


def read_file(connection: Connection, said: Shaping, now: datetime) -> Shaping:
    """Let hold what the library's file says, if it says something new; return what holds then."""
    holds = holds_with(connection, said)
    version, kept = shaping_of(connection)
    if holds != kept:
        _keep(connection, version + 1, holds, FOLDER, now)
    return holds


def keep_shaping(connection: Connection, new: Shaping, by: str, now: datetime, why: str) -> int:
    """Keep what somebody says as a new version, unless that holds; return the version. Tells the log."""
    version, before = shaping_of(connection)
    if new == before:
        return version
    _keep(connection, version + 1, new, by, now)
    told, former = new.said(), before.said()
    facts = [
        NewFact(
            Kind.CHANGE,
            new_id(now),
            _LABEL,
            None,
            now,
            {
                "what": FILE,
                "id": name,
                "by": by,
                "why": why,
                "before": former[name],
                "definition": told[name],
                "retired": False,
            },
        )
        for name in told
        if told[name] != former[name]
    ]
    ledger.append(connection, facts, now)
    return version + 1


def _keep(connection: Connection, version: int, new: Shaping, by: str, now: datetime) -> None:
    # Names are ordered as text.
    repository.keep_documents(connection, KIND, {f"{version:0{_DIGITS}}": new.model_dump_json()}, by, now)
