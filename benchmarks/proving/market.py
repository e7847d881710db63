"""The market's task: face values at the checkout, customers with a memory, orders whose margins vary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from benchmarks.market.customers import Form, Market
from benchmarks.market.in_process import LIBRARY, PLACEMENT
from benchmarks.market.parameters import read_parameters
from benchmarks.proving.task import Run, Vectors, drawn_from, log_of
from learning.evaluation import Candidate
from learning.evaluation.rounds import FloatArray
from learning.spec import PolicySpec
from playbooks.content.documents import Content
from playbooks.library import Draft
from playbooks.models import DO_NOTHING, Arm, Playbook
from playbooks.offers import Offer

# Customers of a run, and how often each is decided for.
CUSTOMERS, TURNS = 150, 4
# Of an order at most 100 count, as the market's goal says.
_LOW, _HIGH = -30.0, 100.0
_WEEK = 7


def _spec(name: str, best: str, explored: float) -> PolicySpec:
    epsilon = {"start": explored, "floor": explored, "half_life": 1}
    return PolicySpec.model_validate(
        {
            "id": name,
            "placements": [PLACEMENT],
            "reward": {"low": _LOW, "high": _HIGH},
            "features": [{"one_hot": "arm.value"}, {"scalar": "bargain"}, {"scalar": "premium"}],
            "prior": {"intercept": 1, "weights": {f"value={best}": 1}},
            "learner": {"kind": "linear_gaussian"},
            "exploration": {"kind": "epsilon_greedy", "epsilon": epsilon},
        }
    )


class MarketTask:
    """Who gives a euro to everybody against who gives more."""

    def __init__(self, form: Form, seed: int = 1, customers: int = CUSTOMERS) -> None:
        self._form, self._seed, self._customers = form, seed, customers
        self._market = Market(read_parameters(), form, seed, customers)
        self.placement, self.start = PLACEMENT, self._market.start
        words = yaml.safe_load((LIBRARY / "vocabularies.yaml").read_text(encoding="utf-8"))
        self.vocabularies: Mapping[str, Sequence[str]] = {"value": words["vocabularies"]["arm_value"]}
        # Small coupons do little in either form, and a few euros or many are best.
        better = "500" if form == "logistic" else "1200"
        both = _spec("usual", "100", 0.6), _spec("rival", better, 0.4)
        self.specs: Mapping[str, PolicySpec] = {one.id: one for one in both}
        listed = yaml.safe_load((LIBRARY / "offers.yaml").read_text(encoding="utf-8"))
        contents = yaml.safe_load((LIBRARY / "contents.yaml").read_text(encoding="utf-8"))
        text = (LIBRARY / "playbooks" / "coupons.yaml").read_text(encoding="utf-8")
        document = Playbook.model_validate(yaml.safe_load(text))
        # Budgets change what is eligible; here the policies alone decide.
        document = document.model_copy(update={"constraints": [], "exploration_budget": None})
        self.draft = Draft(
            (document,),
            {one.id: one for one in map(Offer.model_validate, listed)},
            {one.id: one for one in map(Content.model_validate, contents)},
        )
        self.turned = False
        self._known: dict[tuple[float, ...], tuple[FloatArray, FloatArray]] = {}

    def users(self) -> Sequence[str]:
        return [self._market.name(one) for one in range(self._customers)]

    def features(self, user: int, turn: int) -> Mapping[str, Any]:
        return self._market.described(user)

    def earned(self, user: int, turn: int, arm: Arm | None) -> float:
        return _answered(self._market, user, turn, None if arm is None else arm.value / 100, self.turned)

    def runs(self, number: int, seed: int) -> Sequence[Run]:
        vectors = Vectors(self)
        names = [*(one.id for one in vectors.arms), DO_NOTHING]
        values: list[float | None] = [*(one.value / 100 for one in vectors.arms), None]
        found = [self._run([seed, place], vectors, names, values) for place in range(number)]
        # Customers are others each time: what is true is what all of them together say.
        value, logged = (float(np.mean([one[at] for one in found])) for at in (2, 3))
        return [one._replace(value=value, logged=logged) for one in found]

    def _vectors(self, vectors: Vectors, features: Mapping[str, Any]) -> tuple[FloatArray, FloatArray]:
        """Return both vectors; they are the same for all of whom the same is read."""
        key = tuple(features[name] for name in ("bargain", "premium"))
        if key not in self._known:
            self._known[key] = vectors.of(features)
        return self._known[key]

    def _run(
        self, seed: Sequence[int], vectors: Vectors, names: Sequence[str], values: Sequence[float | None]
    ) -> Run:
        rng = np.random.default_rng(seed)
        market = Market(read_parameters(), self._form, int(rng.integers(1 << 31)), self._customers)
        both = np.array([self._vectors(vectors, market.described(one)) for one in range(len(market))])
        order = [market.values.tolist().index(one) + 1 if one is not None else 0 for one in values]
        shown, owners, actions, rewards, worths = [], [], [], [], []
        for turn in range(TURNS):
            drawn = drawn_from(rng, both[:, 0])
            for customer in np.flatnonzero(market.here).tolist():
                worths.append(market.worth(customer, _WEEK * turn)[order])
                owners.append(customer)
                actions.append(drawn[customer])
                rewards.append(_answered(market, customer, turn, values[drawn[customer]], turned=False))
        who, action = np.array(owners), np.array(actions)
        shown, seen, worth = both[who, 0], both[who, 1], np.array(worths)
        log = log_of(names, shown, action, np.array(rewards), who, _LOW, _HIGH)
        candidate = Candidate("rival", log.at_actions(seen), seen)
        return Run(log, candidate, float((seen * worth).sum(1).mean()), float((shown * worth).sum(1).mean()))


def _answered(market: Market, customer: int, turn: int, value: float | None, turned: bool) -> float:
    """Let a customer answer to a face value and return the net; `turned`, each coupon costs six-fold."""
    place = None if value is None else int(np.flatnonzero(np.isclose(market.values, value))[0])
    answer = market.answer(customer, _WEEK * turn, place)
    net = answer.margin - (value or 0.0) * (6 if turned else 1) if answer.ordered else 0.0
    net -= market.parameters.opt_out.costs if answer.left else 0.0
    return float(np.clip(net, _LOW, _HIGH))
