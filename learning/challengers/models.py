"""What is known of policies that compete for the same decisions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from learning.evaluation.promotion import Guard


class Charge(msgspec.Struct, frozen=True):
    """Who is in charge: `policy`, after `former`, since a change of the optimisation log.

    `number` counts the changes of a slot; 0 where there was none: then nobody came before.
    """

    slot: str
    number: int
    policy: str
    former: str | None
    since: datetime | None
    how: str
    change_id: str


class ShadowRound(msgspec.Struct, frozen=True):
    """What a version of a policy would have done in a decision that another one drew.

    `vector` are float64 bytes: its probabilities of the recorded arms, in their order, "do nothing" last.
    """

    policy: str
    decision_id: str
    user_id: str
    decided_at: datetime
    drawer: str
    version: str
    vector: bytes


class Evidence(msgspec.Struct, frozen=True):
    """What is known of a policy against the one in charge, by decisions the latter drew `since` a moment.

    `value` is what it would add per decision, in [low, high] at all times at once with `confidence`;
    `baseline` what the one in charge earned per decision. `reasons` say what speaks against putting it in
    charge; there are none when `promote`.
    """

    policy: str
    against: str
    since: datetime | None
    at: datetime
    confidence: float
    rounds: int
    users: int
    effective_sample_size: float
    baseline: float | None
    value: float | None
    low: float | None
    high: float | None
    guards: Sequence[Guard]
    promote: bool
    reasons: Sequence[str]
    doubts: Sequence[str] = ()

    @property
    def evaluable(self) -> bool:
        return self.value is not None


class Live(msgspec.Struct, frozen=True):
    """What a promoted policy added per decision while it was in charge, by the former one in shadow."""

    rounds: int
    baseline: float
    value: float
    low: float
    high: float
    held: bool


class Claim(msgspec.Struct, frozen=True):
    """What a promotion promised, and what came of it: `live` is None until the decisions have matured."""

    change_id: str
    policy: str
    former: str
    at: datetime
    until: datetime
    promised: Evidence
    live: Live | None


class EstimateRecord(msgspec.Struct, frozen=True):
    """How past evaluations did: of `scored` values `held` held, of `lifts` that could be told `lifts_held`.

    `off` is by how much what was earned differed from what was said, as a mean share of what was said; None
    where nothing was.
    """

    made: int
    scored: int
    held: int
    lifts: int
    lifts_held: int
    off: float | None


class Record(msgspec.Struct, frozen=True):
    """How past claims did: of `scored` promotions with intervals of `confidence`, `held` held.

    `promised` and `live` are the mean gains as shares of what was earned before, None where nothing was.
    `estimates` are claims of evaluations.
    """

    claims: int
    scored: int
    held: int
    promised: float | None
    live: float | None
    estimates: EstimateRecord
    says: str
