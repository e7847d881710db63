"""The record of one decision: everything it used, so that it can be replayed for ever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from playbooks.constraints.circumstances import Recorded
from playbooks.models import DO_NOTHING, Arm


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer of `decide`.

    `arms` are the eligible ones, "do nothing" last; of a fallback the one that is answered, without a score.
    `scores[i]` is the policy's expected reward of arm i; "do nothing" scores 0 because rewards are counted on
    top of it. `deviations[i]` is how uncertain score i is, where the policy draws from its posterior.
    `levers` are the operator's weights of playbooks that are not 1.
    `costs[i]` is what arm i costs, in units of reward, where any costs something; of that `fatigue`, by
    playbook or arm, is for the contacts that the user had lately, and the shadow prices of budgets that bind,
    `prices` by rule, are in it.
    `explored` is what exploring cost by playbook, of those with an exploration budget, in thousandths of
    minor units of its currency; `narrowed` are playbooks that had none left, whose arms got no more than the
    floor.
    `pilots` are the versions of playbooks that took part as pilots.
    `probabilities` sums to 1 over `arms`; `draw` in [0, 1) picked `arms[chosen]` with `propensity`.
    `holdout` are the rules that held the user out from playbooks that would have competed.
    `refused_by` names the cap that had no room left when the drawn arm was to be reserved; the answer was
    then "do nothing". `fallback` names the reason when no policy was asked. `test`: it was made for one of
    the house, and counts for nothing.
    `suppressed` has the playbooks, or arms where only some of a playbook's are stopped, by the rule that
    stopped them; `constraints` is the version of the rules that hold for all playbooks. `uses` are those
    that were counted, by what they count under; `circumstances` what else rules asked for.
    """

    decision_id: str
    user_id: str
    placement: str
    decided_at: datetime
    request_key: str
    seed: str
    library: str
    policy: str
    features: Mapping[str, Any]
    audiences: Sequence[str]
    uses: Mapping[str, int]
    suppressed: Mapping[str, Sequence[str]]
    arms: Sequence[str]
    scores: Sequence[float]
    probabilities: Sequence[float]
    draw: float
    chosen: int
    propensity: float
    playbook: str | None
    playbook_version: int | None
    levers: Mapping[str, float] = {}
    costs: Sequence[float] = ()
    fatigue: Mapping[str, float] = {}
    prices: Mapping[str, float] = {}
    deviations: Sequence[float] = ()
    explored: Mapping[str, int] = {}
    narrowed: Sequence[str] = ()
    pilots: Mapping[str, int] = {}
    holdout: Sequence[str] = ()
    constraints: int = 0
    circumstances: Recorded = Recorded()
    refused_by: str | None = None
    fallback: str | None = None
    test: bool = False

    @property
    def arm(self) -> str:
        """The id of the drawn arm."""
        return self.arms[self.chosen]

    @property
    def weights(self) -> list[float]:
        """The operator's lever of each arm but "do nothing"."""
        return [self.levers.get(arm.partition("/")[0], 1.0) for arm in self.arms[:-1]]

    @property
    def gives(self) -> bool:
        """Whether the answer shows an arm: one that is to be delivered, or a placement's fallback."""
        return self.refused_by is None and self.arms[self.chosen] != DO_NOTHING

    @property
    def acts(self) -> bool:
        """Whether something is to be delivered. A fallback is shown, and that is all: it begins nothing."""
        return self.gives and self.fallback is None


def certain(
    decision_id: str, user_id: str, arm: Arm, version: int, at: datetime, *, placement: str
) -> Decision:
    """Return what stands for a decision that gives an arm for certain: no policy was asked, nothing drawn."""
    return Decision(
        decision_id=decision_id,
        user_id=user_id,
        placement=placement,
        decided_at=at,
        request_key=decision_id,
        seed="",
        library="",
        policy="",
        features={},
        audiences=(),
        uses={},
        suppressed={},
        arms=[arm.id],
        scores=[0.0],
        probabilities=[1.0],
        draw=0.0,
        chosen=0,
        propensity=1.0,
        playbook=arm.playbook,
        playbook_version=version,
    )
