"""What faults were inflicted, what was acknowledged meanwhile, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from storage.faultpoints import POINTS
from tests.faults.invariants import Finding
from tests.faults.planning import (
    ANYWHERE,
    BACK,
    CRASH,
    CUT,
    DISK,
    JOBS_PROCESS,
    LEARNER,
    POSTGRES,
    SQLITE,
    STARTING,
    VALKEY,
)


@dataclass
class Tally:
    """What was done and what came of it."""

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    outages: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    events: int = 0
    decisions: int = 0
    acting: int = 0
    uses: int = 0

    def add(self, more: Tally) -> None:
        """Add what another campaign did."""
        self.kills += more.kills
        self.outages += more.outages
        self.findings += more.findings
        self.statuses += more.statuses
        self.events += more.events
        self.decisions += more.decisions
        self.acting += more.acting
        self.uses += more.uses

    def killed(self, name: str) -> int:
        """How often services died at a step, on all databases."""
        return sum(number for (step, _), number in self.kills.items() if step == name)

    def number(self, kind: str) -> int:
        """How many findings there are of a kind."""
        return sum(one.kind == kind for one in self.findings)


def table(tally: Tally) -> str:
    """Return what was killed and what came of it, as text."""
    lines = [f"{'killed at':<24}{'SQLite':>8}{'Postgres':>10}{'all':>6}"]
    for step in (*POINTS, ANYWHERE, STARTING, LEARNER, JOBS_PROCESS):
        each = [tally.kills[step, where] for where in (SQLITE, POSTGRES)]
        lines.append(f"{step:<24}{each[0]:>8}{each[1]:>10}{sum(each):>6}")
    lines.append(f"{'kills':<40}{tally.kills.total():>8}")
    for what in (DISK, CUT, CRASH, VALKEY, BACK):
        each = [tally.outages[what, where] for where in (SQLITE, POSTGRES)]
        lines.append(f"{what:<24}{each[0]:>8}{each[1]:>10}{sum(each):>6}")
    lines.append(
        f"acknowledged: {tally.events} events, {tally.decisions} decisions ({tally.acting} with an offer), "
        f"{tally.uses} uses of codes"
    )
    lines.append(f"answers that said to try again, or why not: {dict(tally.statuses.most_common())}")
    lines.append(
        f"acknowledged facts lost {tally.number('lost')}, doubled {tally.number('doubled')}, "
        f"otherwise wrong {tally.number('wrong')}"
    )
    return "\n".join(lines + [f"  {one.kind}: {one.what[:600]}" for one in tally.findings[:30]])
