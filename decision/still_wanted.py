"""Whether a message is still wanted when its turn comes: what was claimed may wait for a slow provider."""

from __future__ import annotations

from collections.abc import Mapping

from audiences.consent import repository
from audiences.consent.models import Channel
from audiences.identity.people import People
from decision.gate_playbooks import Playbooks
from decision.permission_check import said_no
from delivery.models import Enrolment
from storage.engine import Database


class StillWanted:
    """Implements `delivery.handing_over.Wanted` by the words of users as they are committed. Thread-safe."""

    def __init__(self, database: Database, people: People, ways: Mapping[str, Channel]) -> None:
        """`ways` are those on which users agree to be reached, by channel; of others `any` counts."""
        self._database, self._people, self._ways = database, people, ways
        self._playbooks = Playbooks()

    def by(self, run: Enrolment, channel: str) -> bool:
        with self._database.read() as connection:
            playbook = self._playbooks.of(connection, run)
            words = repository.of_users(connection, self._people.members(run.user_id))
        purpose = "promotional" if playbook is None else playbook.document.purpose
        way = self._ways.get(channel, Channel.ANY)
        return purpose == "transactional" or said_no(words, purpose, run.playbook, way) is None
