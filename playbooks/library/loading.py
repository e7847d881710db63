"""Makes the library that is served from what the database says is live: the same in every process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from sqlalchemy import Connection

from audiences.rules import Schema
from playbooks.constraints.rulebook import NO_NAMES, Rulebook
from playbooks.library import house_rules, repository
from playbooks.library.lifecycle import State
from playbooks.library.serving import Library, PublishedPlaybook
from playbooks.library.trials import Trial


class Loader:
    """Loads the library, and knows whether there is a newer one. Versions never change: each is read once."""

    def __init__(
        self,
        seed: str = "",
        canonical: Callable[[str], str] = str,
        placements: Iterable[str] = (),
        schema: Schema = NO_NAMES,
    ) -> None:
        """Begin with nothing loaded.

        Args:
            seed: salts the shares of pilots.
            canonical: says as whom a listed user is known.
            placements: that are asked about also while nothing is served there.
            schema: what the rules of constraints may speak of.
        """
        self._seed, self._canonical, self._placements = seed, canonical, frozenset(placements)
        self._schema = schema
        self._number = -1
        self._rules: Rulebook | None = None
        self._known: dict[tuple[str, int], PublishedPlaybook] = {}

    def newer(self, connection: Connection) -> Library | None:
        """Return the library if it changed since it was last loaded."""
        number = repository.last_number(connection)
        rules = house_rules.constraints_version(connection)
        if number == self._number and self._rules is not None and rules == self._rules.version:
            return None
        library = self.load(connection)
        self._number = number
        return library

    def load(self, connection: Connection) -> Library:
        """Return the library as it is now."""
        served = repository.served(connection)
        states = {(one.playbook, one.version): one.state for one in served}
        missing = states.keys() - self._known.keys()
        for (playbook, version), body in repository.bodies(connection, missing).items():
            self._known[playbook, version] = body.published(version)
        self._known = {key: one for key, one in self._known.items() if key in states}
        live = {playbook for (playbook, _), state in states.items() if state is State.LIVE}
        trials = {
            key[0]: self._trial(self._known[key], alone=key[0] not in live)
            for key, state in states.items()
            if state is State.PILOT and key in self._known
        }
        return Library(
            tuple(self._as(one, states[key], trials.get(one.id)) for key, one in sorted(self._known.items())),
            self._placements,
            self._rulebook(connection),
        )

    def _rulebook(self, connection: Connection) -> Rulebook:
        """The constraints as they are now; terms that were made under them are kept as long as they hold."""
        version, constraints = house_rules.constraints_of(connection)
        if self._rules is None or self._rules.version != version:
            self._rules = Rulebook(constraints, version, self._schema)
        return self._rules

    def _trial(self, playbook: PublishedPlaybook, *, alone: bool) -> Trial | None:
        pilot = playbook.document.pilot
        if pilot is None:
            return None
        return Trial.of(pilot, f"{self._seed}:{playbook.key}", alone=alone, canonical=self._canonical)

    @staticmethod
    def _as(playbook: PublishedPlaybook, state: State, trial: Trial | None) -> PublishedPlaybook:
        if trial is None:
            return playbook
        if state is State.PILOT:
            return replace(playbook, trial=trial)
        return replace(playbook, without=trial)
