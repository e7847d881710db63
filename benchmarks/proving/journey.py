"""The demo's task: 40 categories, households that really bought in them or did not in the next two weeks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import yaml

from benchmarks.proving.task import Run, Vectors, drawn_from, log_of
from decision.demo.data import LAST_QUARTER, CompleteJourney, start_of_week
from decision.demo.run import LIBRARY
from learning.evaluation import Candidate
from learning.evaluation.rounds import FloatArray
from learning.spec import PolicySpec
from playbooks.content.documents import Content
from playbooks.library import Draft
from playbooks.models import DO_NOTHING, Arm, Playbook
from playbooks.offers import Offer

# Households of a run, each drawn by itself.
HOUSEHOLDS = 400
_HALF_LIFE = 8.0


def _spec(name: str, temperature: float) -> PolicySpec:
    return PolicySpec.model_validate(
        {
            "id": name,
            "placements": ["outbound"],
            "features": [
                {"name": "lately", "from": "category_rate_hl8", "at": "arm.category", "transform": ["sqrt"]}
            ],
            "prior": {"intercept": 0.1, "weights": {"lately.sqrt": 1.0}},
            "learner": {"kind": "linear_gaussian"},
            "exploration": {
                "kind": "softmax",
                "temperature": temperature,
                "floor": {"start": 0.1, "floor": 0.1, "half_life": 1},
            },
        }
    )


class JourneyTask:
    """Who offers what was bought lately, a little or a lot more often, on real purchases."""

    def __init__(self, households: int | None = None, weeks: Sequence[int] = LAST_QUARTER) -> None:
        journey = CompleteJourney(households)
        self._journey, self._weeks = journey, weeks
        self.placement, self.start = "outbound", start_of_week(weeks[0])
        self.vocabularies: Mapping[str, Sequence[str]] = {"category": journey.categories}
        both = _spec("timid", 0.2), _spec("bold", 0.05)
        self.specs: Mapping[str, PolicySpec] = {one.id: one for one in both}
        text = (LIBRARY / "playbooks" / "everyone.yaml").read_text(encoding="utf-8")
        offers = yaml.safe_load((LIBRARY / "offers.yaml").read_text(encoding="utf-8"))
        contents = yaml.safe_load((LIBRARY / "contents.yaml").read_text(encoding="utf-8"))
        self.draft = Draft(
            (Playbook.model_validate(yaml.safe_load(text)),),
            {one.id: one for one in map(Offer.model_validate, offers)},
            {one.id: one for one in map(Content.model_validate, contents)},
        )
        self._truth = np.stack([journey.truth(week) for week in weeks], axis=1).astype(np.float64)
        self._rates = np.stack([self._rates_at(week) for week in weeks], axis=1)
        # The world turned: people take what they never bought.
        self.turned = False

    def users(self) -> Sequence[str]:
        return [str(one) for one in self._journey.households]

    def features(self, user: int, turn: int) -> Mapping[str, Any]:
        return {"category_rate_hl8": self._rates[user, turn % len(self._weeks)]}

    def earned(self, user: int, turn: int, arm: Arm | None) -> float:
        if arm is None:
            return 0.0
        place, week = self._journey.categories.index(arm.attributes["category"]), turn % len(self._weeks)
        if self.turned:
            return float(self._rates[user, week, place] == 0)
        return float(self._truth[user, week, place])

    def runs(self, number: int, seed: int) -> Iterable[Run]:
        households, weeks = self._rates.shape[:2]
        both = self._both
        logged, candidate = both[:, :, 0], both[:, :, 1]
        # What each arm is worth, in the order of the arms, and nothing.
        places = [self._journey.categories.index(one.attributes["category"]) for one in self._vectors.arms]
        worth = np.concatenate([self._truth[:, :, places], np.zeros((households, weeks, 1))], axis=2)
        value, known = float((candidate * worth).sum(-1).mean()), float((logged * worth).sum(-1).mean())
        names = [*(one.id for one in self._vectors.arms), DO_NOTHING]
        rng = np.random.default_rng(seed)
        for _ in range(number):
            who = rng.integers(0, households, HOUSEHOLDS)
            owners = np.repeat(np.arange(HOUSEHOLDS), weeks)
            shown, seen = _rows(logged[who]), _rows(candidate[who])
            action = drawn_from(rng, shown)
            rewards = _rows(worth[who])[np.arange(len(action)), action]
            log = log_of(names, shown, action, rewards, owners, 0.0, 1.0)
            yield Run(log, Candidate("bold", log.at_actions(seen), seen), value, known)

    @cached_property
    def _vectors(self) -> Vectors:
        return Vectors(self)

    @cached_property
    def _both(self) -> FloatArray:
        """What both policies would do with every household in every week: (households, weeks, 2, arms)."""
        households, weeks = self._rates.shape[:2]
        return np.array(
            [
                [self._vectors.of(self.features(user, turn)) for turn in range(weeks)]
                for user in range(households)
            ]
        )

    def _rates_at(self, week: int) -> FloatArray:
        """Return how often a household bought in each category lately, by half-life, in purchases a week."""
        bought = self._journey.bought[:, :week].astype(np.float64)
        ages = np.arange(week, 0, -1)
        weights = 0.5 ** (ages / _HALF_LIFE)
        rates: FloatArray = np.einsum("hwc,w->hc", bought, weights) / weights.sum()
        return rates


def _rows(table: FloatArray) -> FloatArray:
    return table.reshape(-1, table.shape[-1])
