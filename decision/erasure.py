"""Erasure of a person from every place that any room has, in the order in which they are gone through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter

from audiences import erasure as audiences_erasure
from audiences.identity.people import PersonsProfiles
from delivery import erasure as delivery_erasure
from delivery.channels.channel import Channel
from feature_repo.erasure import erase_history, erase_online, erase_snapshots
from feature_repo.store import FeatureRepository
from learning import erasure as learning_erasure
from playbooks import erasure as playbooks_erasure
from playbooks.counters import Counters
from storage.clock import Clock
from storage.engine import Database
from storage.erasure import Erased, Outside, Place, erase
from storage.tombstones import FACTS


class Erasure:
    """Erases people. An erasure that was interrupted goes on when it is asked for again."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        features: FeatureRepository,
        channels: Mapping[str, Channel],
        counters: Counters,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        """Name all places.

        Args:
            done: called after each erasure, to read anew what is held in memory.
        """
        self._database = database
        self._clock = clock
        self._done = done
        self._profiles = PersonsProfiles()

        # Remembered answers are found by records of decisions, which are facts; features come from events,
        # which are facts too, and would come back if these went later.
        self.places: Sequence[Place] = [
            *audiences_erasure.PLACES,
            *playbooks_erasure.places(counters),
            FACTS,
            *learning_erasure.PLACES,
            Outside("feature_history", partial(erase_history, features)),
            Outside("feature_snapshots", partial(erase_snapshots, features)),
            Outside("features_online", partial(erase_online, features)),
            *delivery_erasure.places(channels),
            audiences_erasure.IDENTITIES,
        ]

    def erase(self, user_ids: Sequence[str]) -> Erased:
        """Erase one person, with all profiles that were joined to these (see `storage.erasure.erase`)."""
        with self._database.read() as connection:
            ids = [one for user_id in user_ids for one in self._profiles.of(connection, user_id)]
        erased = erase(self._database, self.places, ids, self._clock.now())
        self._done()
        return erased


def router(erasure: Erasure) -> APIRouter:
    """Return the route that erases a user."""
    routes = APIRouter(prefix="/v1", tags=["users"])

    @routes.delete("/users/{user_id}")
    def erase_user(user_id: str) -> dict[str, Any]:
        """Erase a user from everything that is kept; what is left of their facts bears a pseudonym."""
        erased = erasure.erase([user_id])
        return {"user_id": user_id, "pseudonym": erased.pseudonym, "erased": erased.places}

    return routes
