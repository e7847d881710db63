"""Who is in charge: challengers are promoted on proof, and rolled back on proof; every change is logged."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
import structlog
from sqlalchemy import Connection

from learning import version_repository
from learning.challengers import repository
from learning.challengers.gathering import Gathering
from learning.challengers.models import Charge, Claim, Evidence
from learning.challengers.record import worse
from learning.challengers.rules import PromotionRules, sure
from learning.errors import ChargeTaken, NotUndone, PromotionRefused, UnknownPolicy
from learning.spec import PolicySpec
from playbooks.suggesting import closest
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.writer import Lane

_log = structlog.get_logger(__name__)

# How long a claim waits to be scored; of one whose policy decided nothing it never is.
PATIENCE = timedelta(days=90)
# The name under which it is done by the service itself.
MACHINE = "promotion"
FOLDER = "folder"
LABEL = "policy_in_charge"

How = Literal["promoted", "rolled_back", "taken_back", "gone"]
# Those of which a policy needs more proof to return.
_FELL = ("rolled_back", "taken_back")


class ChargeChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of the change fact: which policy took charge of the decisions of `slot`, and how.

    `version` is the one it took charge with, `previous` that of the policy before it.
    """

    slot: str
    policy: str
    former: str
    version: str | None
    previous: str | None
    how: How
    by: str
    why: str
    evidence: Any = None


class Promoting:
    """Keeps who is in charge of the decisions that `policy.yaml` is about."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        slot: str,
        specs: Mapping[str, PolicySpec],
        rules: PromotionRules,
        gathering: Gathering,
    ) -> None:
        """Wire it.

        Args:
            slot: the id of the policy in `policy.yaml`.
            specs: of all policies of the library, by id.
        """
        self._database, self._clock = database, clock
        self.slot, self.specs, self.rules = slot, specs, rules
        self.gathering = gathering

    def charge(self) -> Charge:
        """Return who is in charge."""
        with self._database.read() as connection:
            return repository.charge(connection, self.slot)

    def known(self, policy: str) -> str:
        """Return the policy's id.

        Raises:
            UnknownPolicy: the library has none of it.
        """
        if policy not in self.specs:
            raise UnknownPolicy(
                f"the library has no policy {policy!r}{closest(policy, list(self.specs))}; it has "
                f"{', '.join(self.specs)}"
            )
        return policy

    def evidence(self, policy: str) -> Evidence:
        """Gather what is known of a policy by now, and keep it.

        Raises:
            UnknownPolicy: the library has none of it.
            PromotionRefused: it is in charge, so that there is nothing to compare it with.
        """
        self.known(policy)
        with self._database.read() as connection:
            history = repository.charges(connection, self.slot)
            charge = repository.charge(connection, self.slot)
        if policy == charge.policy:
            raise PromotionRefused(f"{policy} is in charge already")
        falls = sum(1 for one in history if one.former == policy and one.how in _FELL)
        confidence = sure(self.rules.confidence, len(self.specs) - 1, falls)
        found = self.gathering.evidence(policy, charge, confidence, self._clock.now())
        self._database.write(lambda c: repository.keep_evidence(c, self.slot, found))
        return found

    def promote(self, policy: str, by: str, why: str = "") -> Evidence:
        """Put a policy in charge, if there is proof; the one before becomes its fallback.

        Returns:
            The proof.

        Raises:
            UnknownPolicy: the library has none of this id.
            PromotionRefused: there is no proof, or it is in charge already; every reason is named.
            ChargeTaken: somebody else changed who is in charge meanwhile.
        """
        found = self.evidence(policy)
        if not found.promote:
            raise PromotionRefused(f"{policy} does not take charge: {'; '.join(found.reasons)}")
        charge = self.charge()
        if charge.policy != found.against:
            raise ChargeTaken(f"{charge.policy} took charge meanwhile; there is no proof against it yet")
        cause = f"adds {found.value:+.4g} a decision to {charge.policy}, at least {found.low:+.4g}"
        self._hand_over(charge, policy, "promoted", by, why or cause, found)
        return found

    def settle(self) -> dict[str, Any]:
        """Look at all evidence again: promote what may be, roll back what has to be; return what was done."""
        charge = self.charge()
        done: dict[str, Any] = {"promoted": None, "rolled_back": None}
        if charge.policy not in self.specs:
            return done
        found = [self.evidence(policy) for policy in self.specs if policy != charge.policy]
        for one in found:
            if one.policy == charge.former and charge.how == "promoted" and (why := worse(one)):
                self._hand_over(charge, one.policy, "rolled_back", MACHINE, why, one)
                _log.warning("rolled back", policy=one.policy, instead_of=charge.policy, why=why)
                return done | {"rolled_back": charge.policy}
        if self.rules.promotion == "automatic":
            proven = [one for one in found if one.promote]
            if proven:
                best = max(proven, key=lambda one: one.low or 0.0)
                self.promote(best.policy, MACHINE)
                return done | {"promoted": best.policy}
        return done

    def take_back(self, change_id: str, by: str, why: str) -> None:
        """Bring the former policy back, that a promotion took charge from.

        Raises:
            NotUndone: something changed since, or the former policy is gone.
        """
        charge = self.charge()
        if charge.change_id != change_id:
            raise NotUndone("who is in charge was changed since: take the later change back first")
        if charge.former is None or charge.former not in self.specs:
            raise NotUndone(f"the library has no policy {charge.former!r} any more that could take charge")
        self._hand_over(charge, charge.former, "taken_back", by, why, None)

    def leave_gone(self) -> None:
        """Give the slot back to its own policy where the one in charge has left the library."""
        charge = self.charge()
        if charge.policy not in self.specs:
            why = f"the library has no policy {charge.policy!r} any more"
            self._hand_over(charge, self.slot, "gone", FOLDER, why, None)

    def _hand_over(
        self, charge: Charge, policy: str, how: How, by: str, why: str, found: Evidence | None
    ) -> None:
        now = self._clock.now()
        change_id = new_id(now)
        new = Charge(self.slot, charge.number + 1, policy, charge.policy, now, how, change_id)

        def write(connection: Connection) -> None:
            repository.take_charge(connection, new)
            if charge.how == "promoted":
                repository.end_claim(connection, charge.change_id, now)
            if found is not None and how == "promoted":
                until = now + self.rules.live_window
                claim = Claim(change_id, policy, charge.policy, now, until, found, None)
                repository.keep_claim(connection, self.slot, claim)
            body = ChargeChange(
                slot=self.slot,
                policy=policy,
                former=charge.policy,
                version=_newest(connection, policy),
                previous=_newest(connection, charge.policy),
                how=how,
                by=by,
                why=why,
                evidence=None if found is None else msgspec.to_builtins(found),
            )
            ledger.append(connection, [NewFact(Kind.CHANGE, change_id, LABEL, None, now, body)], now)

        self._database.write(write, rows=4, lane=Lane.REQUEST)


def _newest(connection: Connection, policy: str) -> str | None:
    return next(iter(version_repository.newest_names(connection, policy, 1)), None)


def scored(database: Database, promoting: Promoting, now: datetime) -> int:
    """Score claims whose time is over and whose decisions have matured; return how many."""
    slot, gathering = promoting.slot, promoting.gathering
    with database.read() as connection:
        waiting = [
            one for one in repository.claims(connection, slot) if one.live is None and one.until <= now
        ]
    number = 0
    for one in waiting:
        if not gathering.matured(one.until):
            continue
        live = gathering.live(one.policy, one.former, one.at, one.until, one.promised)
        if live is not None:
            database.write(
                lambda c, one=one, live=live: repository.score_claim(c, one.change_id, live)  # type: ignore[misc]
            )
            number += 1
    return number
