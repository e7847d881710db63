"""What evaluations said that policies would be worth, and what came of it once they were in charge. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import blake2b

import msgspec

from learning.challengers.models import Charge
from learning.evaluation import Evaluation
from learning.evaluation.verdict import Word, difference

# Who was in charge for less had no time to show what it is worth.
_SHORTEST = timedelta(hours=1)


class Span(msgspec.Struct, frozen=True):
    """An estimate and the interval it lies in."""

    value: float
    low: float
    high: float


class Came(msgspec.Struct, frozen=True):
    """What a policy earned per decision while it was in charge, beside what was said.

    `rounds` decisions it drew, `by_version` of them by the very version that was evaluated; later ones had
    learned more. `lift` is what it added to the policy that it was compared with, asked in the shadow; None
    where that one was not asked. `held` says that value and estimate may be the same, `lift_held` the same of
    the lift.
    """

    rounds: int
    by_version: int
    value: Span
    held: bool
    lift: Span | None = None
    lift_held: bool | None = None


class Estimate(msgspec.Struct, frozen=True):
    """One evaluation of a policy version on a service's own decisions.

    `against` is the policy (not the version) it was compared with: the one that drew most of the rounds where
    the baseline was what was logged. `through` is the newest reward it knew of. `came` is None until the
    policy has been in charge and its decisions have matured; `unscored` says why it never will be scored.
    """

    id: str
    at: datetime
    policy: str
    version: str
    baseline: str
    against: str
    through: int
    rounds: int
    confidence: float
    headline: str
    value: Span
    lift: Span
    verdict: str
    came: Came | None = None
    unscored: str = ""

    @property
    def digest(self) -> str:
        """What is the same for one who asks the same again."""
        said = (self.version, self.baseline, self.rounds, self.through, self.confidence, self.headline)
        return blake2b(repr((said, self.value.value)).encode(), digest_size=16).hexdigest()


def estimate_of(
    found: Evaluation, policy: str, against: str, through: int, claim_id: str, at: datetime
) -> Estimate | None:
    """Return what an evaluation claims; None where it says itself that nothing can be told."""
    value, lift = found.candidate_value, found.difference
    if found.verdict.startswith(Word.NOT_EVALUABLE.value):
        return None
    if None in (*value.interval, *lift.interval):
        return None
    return Estimate(
        id=claim_id,
        at=at,
        policy=policy,
        version=found.candidate,
        baseline=found.baseline,
        against=against,
        through=through,
        rounds=found.diagnostics.rounds,
        confidence=found.confidence,
        headline=found.headline,
        value=Span(value.value, *value.interval),  # type: ignore[arg-type]
        lift=Span(lift.value, *lift.interval),  # type: ignore[arg-type]
        verdict=found.verdict,
    )


def in_charge_after(
    policy: str, at: datetime, slot: str, charges: Sequence[Charge], longest: timedelta
) -> tuple[datetime, datetime] | None:
    """Return from when to when a policy decided after a moment: the first time, and at most `longest`.

    None if it has not been in charge since, or was taken back at once. `charges` are those of the slot, the
    first one first.
    """
    holders = [(slot, None), *((one.policy, one.since) for one in charges)]
    for place, (holder, since) in enumerate(holders):
        later = [moment for _, moment in holders[place + 1 :] if moment is not None]
        ended = min(later, default=None)
        if holder != policy or (ended is not None and ended <= at):
            continue
        begun = at if since is None else max(since, at)
        if ended is not None and ended - begun < _SHORTEST:
            continue
        return begun, min(begun + longest, ended or begun + longest)
    return None


def alike(one: Span, other: Span) -> bool:
    """Whether two figures that were estimated from different decisions may be the same."""
    _, low, high = difference(
        (one.value, one.low, one.high), (other.value, other.low, other.high), correlation=0.0
    )
    return low <= 0 <= high
