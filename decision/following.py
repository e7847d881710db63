"""Follows what any process publishes: policies, playbooks, who is in which audience, who is one person.

A few indexed reads tell whether something is new; only then is it loaded, and swapped in as a whole.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import structlog
from sqlalchemy import Connection

from audiences.identity.service import IdentityService
from audiences.selection.memberships import Memberships
from decision.decider import Decider
from decision.health import unavailable
from learning import version_repository
from learning.errors import BrokenWeights
from playbooks.controls.repository import in_force
from playbooks.library import Library
from playbooks.library.loading import Loader
from playbooks.policy import Policy
from playbooks.shaping import CurrentShaping
from storage.engine import Database
from storage.errors import NextplayError

_log = structlog.get_logger(__name__)

# Seconds between two looks; what is new is served within a second.
INTERVAL = 0.5
# Loading may take at most this share of the time, however often something is new.
_SHARE = 0.2


class Follower:
    """Keeps what a process serves at what was last published. Safe to call from any thread."""

    def __init__(
        self,
        database: Database,
        decider: Decider,
        memberships: Memberships,
        *,
        policy: Callable[[Connection], str],
        inputs: frozenset[str],
        identity: IdentityService,
        loader: Loader,
    ) -> None:
        """Begin from what is being served.

        Args:
            policy: returns the id of the policy in charge, of which the newest version serves.
            inputs: features that decisions record for policies which do not decide.
            loader: of the library, which loaded what is being served.
        """
        self._database = database
        self._decider = decider
        self._memberships = memberships
        self._identity = identity
        self._loader = loader
        self._policy, self._inputs = policy, inputs
        self._shaping = CurrentShaping()
        # Damaged versions, each of which is told of once.
        self._refused: set[str] = set()
        self._lock = threading.Lock()
        with database.read() as connection:
            memberships.load(connection)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Follow no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def refresh(self) -> None:
        """Serve what is published now.

        Raises:
            NextplayError: what is published can't be served; the rest is, and what was served goes on.
        """
        self._identity.refresh()
        with self._lock, self._database.read() as connection:
            self._memberships.load(connection)
            self._follow_library(connection)
            self._follow_policy(connection)
            self._follow_controls(connection)
            self._follow_shaping(connection)

    def _run(self) -> None:
        pause = INTERVAL
        while not self._stop.wait(pause):
            started = time.monotonic()
            try:
                self.refresh()
            except NextplayError as error:
                _log.warning("can't serve what is published", code=error.code, error=str(error))
            except Exception as error:  # noqa: BLE001 - one failed look must not end all later ones
                if (away := unavailable(error)) is None:
                    _log.exception("can't follow what is published")
                else:
                    _log.warning("can't see what is published", error=str(away))
            pause = max(INTERVAL, (time.monotonic() - started) / _SHARE)

    def _follow_library(self, connection: Connection) -> None:
        library = self._loader.newer(connection)
        if library is not None and library.version != self._decider.snapshot.library.version:
            self._serve(library, self._decider.snapshot.policy)

    def _follow_policy(self, connection: Connection) -> None:
        """Serve the newest version that is whole and was not refused; those that are not are passed over."""
        serving = self._decider.snapshot.policy
        for name in version_repository.newest_names(connection, self._policy(connection)):
            if name == serving.version:
                return
            if name in self._refused:
                continue
            try:
                policy = version_repository.version(connection, name).serve(self._inputs)
            except BrokenWeights as error:
                self._refused.add(name)
                _log.error("policy version refused, the one before goes on", version=name, error=str(error))
                continue
            self._serve(self._decider.snapshot.library, policy)
            return

    def _follow_controls(self, connection: Connection) -> None:
        controls = in_force(connection)
        if controls != self._decider.snapshot.controls:
            self._decider.serve(replace(self._decider.snapshot, controls=controls))

    def _follow_shaping(self, connection: Connection) -> None:
        shaping, serving = self._shaping.of(connection), self._decider.snapshot
        if (shaping.guards, shaping.costs) != (serving.guards, serving.costs):
            self._decider.serve(replace(serving, guards=shaping.guards, costs=shaping.costs))
            _log.info("serving other guards and costs")

    def _serve(self, library: Library, policy: Policy) -> None:
        self._decider.serve(replace(self._decider.snapshot, library=library, policy=policy))
        _log.info("serving what was published", library=library.version, policy=policy.version)
