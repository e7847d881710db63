"""What exploring costs in decisions that are made but not durable yet, so that the next ones mind it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec

from decision.reserving import loss_of
from playbooks.constraints.circumstances import Circumstances, Needs
from playbooks.decision import Decision
from playbooks.exploring import is_exploration
from playbooks.library import Library


def minded(circumstances: Circumstances, under_way: Mapping[str, int]) -> Circumstances:
    """Return circumstances in which what is under way counts as taken."""
    if not under_way:
        return circumstances
    levels = {key: taken + under_way.get(key, 0) for key, taken in circumstances.levels.items()}
    return msgspec.structs.replace(circumstances, levels=levels)


class InFlight:
    """Losses of this process's decisions between the draw and the commit. Thread-safe."""

    def __init__(self) -> None:
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._held: dict[str, dict[str, int]] = {}
        self._totals: Counter[str] = Counter()

    @contextmanager
    def turn(self, needs: Needs) -> Iterator[Mapping[str, int]]:
        """Let decisions with exploration budgets be made one after the other, so that each minds the last.

        Gives what is under way, by budget. It is looked up before the counters are read: what becomes durable
        in between is then counted twice rather than not at all.
        """
        if any(is_exploration(one) for one in needs.budgets):
            with self._turn:
                with self._lock:
                    under_way = dict(self._totals)
                yield under_way
        else:
            yield {}

    def hold(self, library: Library, decision: Decision) -> None:
        """Count a decision's loss until it is let go of."""
        lost = loss_of(library, decision)
        if lost is None:
            return
        amounts = {spend.budget.key: spend.amount for spend in lost.spends}
        with self._lock:
            self._held[decision.decision_id] = amounts
            self._totals.update(amounts)

    def let_go(self, decision_id: str) -> None:
        """Count it no more: it is durable, and in the counters, or it never will be."""
        if decision_id not in self._held:
            return
        with self._lock:
            self._totals.subtract(self._held.pop(decision_id, {}))
            self._totals = +self._totals
