"""Customers of the market: what is seen of them, how they answer, and what each offer is really worth.

Everything is drawn from one seed: the customers at the start, and then each customer's own answer from the
seed, the customer and the day, whoever asks in which order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from benchmarks.market.parameters import Fading, Parameters

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
Form = Literal["logistic", "reference"]
FORMS: tuple[Form, ...] = ("logistic", "reference")

_YEAR = 365.25
# Steps in which the shop bins the share of deals.
_STEPS = [step / 10 for step in range(1, 10)]


class Answer(NamedTuple):
    """What a customer did: an order of some margin after some days, or none, and whether they left."""

    ordered: bool
    margin: float
    after: timedelta
    left: bool


class Market:
    """Customers with a memory. Days count from the start of the market."""

    def __init__(self, parameters: Parameters, form: Form, seed: int, customers: int | None = None) -> None:
        """Draw the customers; `customers` in number, by default as the parameters say."""
        self.parameters, self.form, self.seed = parameters, form, seed
        self.start = datetime.combine(parameters.start, datetime.min.time(), tzinfo=UTC)
        count = parameters.customers if customers is None else customers
        rng = np.random.default_rng([seed, 0])
        groups = parameters.groups
        self.group = rng.choice(len(groups), count, p=[one.share for one in groups])
        own = [groups[place] for place in self.group]
        self.margin = np.array([one.margin[0] for one in own]) * np.exp(
            rng.normal(size=count) * np.array([one.margin[1] for one in own])
        )
        mean, size = (np.array([one.deal_share[part] for one in own]) for part in (0, 1))
        self.deal_share = rng.beta(mean * size, (1 - mean) * size)
        hidden = parameters.hidden
        self.base = np.array([one.base for one in own]) + hidden.base * rng.normal(size=count)
        self.sensitivity = np.exp(hidden.sensitivity * rng.normal(size=count))
        self.here = np.ones(count, dtype=bool)
        self._habit, self._fatigue = np.zeros(count), np.zeros(count)
        self._habit_day, self._fatigue_day = np.zeros(count), np.zeros(count)
        self.values = np.array(parameters.face_values)

    def __len__(self) -> int:
        return len(self.group)

    def name(self, customer: int) -> str:
        """Return the user id of a customer."""
        return f"customer-{customer}"

    def described(self, customer: int) -> dict[str, float]:
        """Return what the shop knows of a customer."""
        group = self.parameters.groups[self.group[customer]].id
        share = float(self.deal_share[customer])
        told = {name: float(group == name) for name in ("bargain", "premium", "sleepy")}
        steps = {f"over_{round(step * 100)}": float(share > step) for step in _STEPS}
        return {"margin": float(self.margin[customer]), **told, **steps}

    def chances(self, customers: int | IntArray, day: float) -> FloatArray:
        """Return how likely an order within the window is, for each customer (…): shape (…, 1 + values).

        Without a coupon, then at each face value.
        """
        log_odds = self.base[customers] + self._season(day)
        log_odds = log_odds + _faded(self._habit, self._habit_day, customers, day, self.parameters.habit)
        log_odds -= _faded(self._fatigue, self._fatigue_day, customers, day, self.parameters.fatigue)
        of_each = log_odds, self.sensitivity[customers], self.deal_share[customers], self.margin[customers]
        log_odds, sensitivity, share, margin = (np.expand_dims(one, -1) for one in of_each)
        plain, forms = expit(log_odds), self.parameters.forms
        if self.form == "logistic":
            slope = sensitivity * forms.logistic.slope * share
            size = np.log1p(self.values / (forms.logistic.scale * margin))
            answered: FloatArray = expit(log_odds + slope * size)
        else:
            step = forms.reference
            reference = sensitivity * (step.low + (step.high - step.low) * (1 - share))
            taken = plain * np.where(self.values < step.half * reference, 1 - step.insult, 1.0)
            answered = taken + step.lift * (1 - plain) * expit((self.values - reference) / step.width)
        return np.concatenate([plain, answered], axis=-1)

    def worth(self, customers: int | IntArray, day: float) -> FloatArray:
        """Return the expected net of doing nothing, then of each face value, in euros: (…, 1 + values)."""
        left = self.parameters.opt_out
        net = np.expand_dims(self.margin[customers], -1) - np.append(0.0, self.values)
        worth: FloatArray = self.chances(customers, day) * net
        worth[..., 1:] -= left.chance * left.costs
        return worth

    def answers(self, customers: Sequence[int], day: float, values: Sequence[int | None]) -> list[Answer]:
        """Let customers, of whom none is there twice, each answer to a face value, and remember it.

        Args:
            values: the place of each one's; None: nothing was offered.
        """
        chances = self.chances(np.array(customers, dtype=np.intp), day)
        return [
            self._answer(customer, day, value, float(chance[0 if value is None else value + 1]))
            for customer, value, chance in zip(customers, values, chances, strict=True)
        ]

    def answer(self, customer: int, day: float, value: int | None) -> Answer:
        """Let a customer answer (see `answers`)."""
        return self.answers([customer], day, [value])[0]

    def _answer(self, customer: int, day: float, value: int | None, chance: float) -> Answer:
        rng = np.random.default_rng([self.seed, 1, customer, round(day * 24)])
        orders, left, delay = rng.random(3)
        ordered = bool(orders < chance)
        spread = self.parameters.order_spread
        # Its mean is the customer's margin.
        factor = math.exp(spread * float(rng.normal()) - spread**2 / 2)
        margin = round(float(self.margin[customer]) * factor, 2)
        cut = 1 - math.exp(-self.parameters.window / self.parameters.delay.mean)
        after = timedelta(days=-self.parameters.delay.mean * math.log1p(-cut * float(delay)))
        if ordered:
            _add(self._habit, self._habit_day, customer, day, self.parameters.habit)
        leaves = False
        if value is not None:
            _add(self._fatigue, self._fatigue_day, customer, day, self.parameters.fatigue)
            leaves = bool(left < self.parameters.opt_out.chance)
            self.here[customer] &= not leaves
        return Answer(ordered, margin, after, leaves)

    def _season(self, day: float) -> float:
        season = self.parameters.season
        of_year = (self.start + timedelta(days=day)).timetuple().tm_yday
        bump = season.bump if season.bump_days[0] <= of_year <= season.bump_days[1] else 0.0
        return season.amplitude * math.cos(2 * math.pi * (of_year - season.top) / _YEAR) + bump


def _faded(
    levels: FloatArray, days: FloatArray, customers: int | IntArray, day: float, how: Fading
) -> FloatArray:
    faded: FloatArray = levels[customers] * 0.5 ** ((day - days[customers]) / how.half_life)
    return faded


def _add(levels: FloatArray, days: FloatArray, customer: int, day: float, how: Fading) -> None:
    levels[customer] = min(how.most, float(_faded(levels, days, customer, day, how)) + how.adds)
    days[customer] = day
