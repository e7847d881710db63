"""What a decision reserves: its arm's uses and budgets, and what exploring cost."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from decision.recording import wanted_of
from playbooks.constraints.circumstances import Circumstances
from playbooks.constraints.counting import Spend
from playbooks.counters import Counters, Reservation, Wanted
from playbooks.decision import Decision
from playbooks.library import Library


@dataclass(frozen=True, slots=True)
class _Both:
    """An arm's reservation, if any, and the exploration loss, which counts also where the arm is refused."""

    arm: Reservation | None
    loss: Reservation

    def keep(self, connection: Connection) -> str | None:
        refused = None if self.arm is None else self.arm.keep(connection)
        self.loss.keep(connection)
        return refused

    def drop(self) -> None:
        if self.arm is not None:
            self.arm.drop()
        self.loss.drop()


def reserve(
    counters: Counters,
    library: Library,
    decision: Decision,
    circumstances: Circumstances,
    connection: Connection | None = None,
) -> Reservation | None:
    """Reserve what a decision uses, None where it uses nothing that is counted."""
    wanted = wanted_of(library, decision, circumstances)
    arm = None if wanted is None else counters.reserve(wanted, decision.decided_at, connection)
    lost = loss_of(library, decision)
    if lost is None:
        return arm
    return _Both(arm, counters.reserve(lost, decision.decided_at, connection))


def loss_of(library: Library, decision: Decision) -> Wanted | None:
    """Return what exploring takes from the day's budgets, None where nothing; it never wants for room."""
    if decision.test or not decision.explored:
        return None
    spends = []
    for playbook, amount in decision.explored.items():
        budget = library.newest(playbook).document.exploration_budget
        if budget is not None and amount > 0:
            spends.append(Spend(budget.counted(playbook, decision.decided_at), amount))
    if not spends:
        return None
    # Under a name of its own: what the arm holds is given back when it is not delivered, this never.
    return Wanted(f"{decision.decision_id}:exploration", decision.user_id, spends=spends, for_good=True)
