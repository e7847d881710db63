"""Evaluation: what a candidate policy would have been worth on a log, against a baseline. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from learning.errors import InvalidRounds
from learning.evaluation import intervals as interval_methods
from learning.evaluation import units
from learning.evaluation.candidates import LOGGED, Candidate, logged
from learning.evaluation.diagnostics import Diagnostics, diagnose
from learning.evaluation.estimators import ESTIMATORS, Estimator
from learning.evaluation.estimators import chosen as chosen_estimators
from learning.evaluation.intervals import BOOTSTRAP, CLOSED
from learning.evaluation.intervals.bootstrap import percentiles, resampled
from learning.evaluation.intervals.likelihood import shaped, shows_shape
from learning.evaluation.log import Log
from learning.evaluation.pick import pick
from learning.evaluation.promotion import Promotion, promotion
from learning.evaluation.reward_model import predictions
from learning.evaluation.rounds import FloatArray, Weighed
from learning.evaluation.terms import Terms
from learning.evaluation.verdict import correlation, difference, verdict

CONFIDENCE = 0.95
RESAMPLES = 100

Pair = tuple[float, float]
# A value and its interval.
Bounded = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class How:
    """How to evaluate: which estimators, which intervals beside the one that is picked, and how sure.

    `promote` asks whether the candidate may be promoted; `margins` are then by guard metric how much worse
    per decision is not to be ruled out, and `learning` says that policies changed while the log was drawn.
    """

    estimators: Sequence[str] = ("all",)
    intervals: Sequence[str] = ()
    confidence: float = CONFIDENCE
    resamples: int = RESAMPLES
    seed: int = 0
    promote: bool = False
    margins: Mapping[str, float] = field(default_factory=dict)
    learning: bool = False

    def __post_init__(self) -> None:
        if not (0.5 if self.promote else 0) < self.confidence < 1:
            raise InvalidRounds(f"the confidence must lie between 0 and 1, not be {self.confidence:g}")
        if self.resamples < 2:
            raise InvalidRounds(f"a bootstrap needs at least 2 resamples, not {self.resamples}")


DEFAULT = How()


class EstimateOf(msgspec.Struct, frozen=True):
    """One estimator's value with the interval that was picked for it, and others if they were asked for.

    `value` is None where the estimator does not apply, `why` says so; an interval is None where there is
    none, and a bound None where there is no bound.
    """

    title: str
    parameter: float | None
    value: float | None
    interval: tuple[float | None, float | None] | None
    method: str | None
    intervals: Mapping[str, tuple[float | None, float | None] | None] = {}
    why: str = ""


class Difference(msgspec.Struct, frozen=True):
    """A value per decision, the candidate's or the baseline's, or the former less the latter."""

    value: float
    interval: tuple[float | None, float | None]


class Evaluation(msgspec.Struct, frozen=True):
    """What an evaluation says. `headline` names the estimator that verdict, difference and values rest on.

    `promotion` says whether the candidate may be promoted, if that was asked; `record`, on a service's own
    decisions, what became of the claims that were made before.
    `refused` are rows of the log that were left out, at most the first hundred, and `refused_rows` how many.
    """

    candidate: str
    baseline: str
    confidence: float
    headline: str
    estimates: Mapping[str, EstimateOf]
    candidate_value: Difference
    baseline_value: Difference
    difference: Difference
    diagnostics: Diagnostics
    verdict: str
    refused_rows: int
    refused: list[str]
    promotion: Promotion | None = None
    record: str | None = None


def evaluate(
    log: Log, candidate: Candidate, baseline: Candidate | None = None, how: How = DEFAULT
) -> Evaluation:
    """Return what a candidate would have been worth on a log, and the verdict against a baseline.

    Args:
        baseline: by default the policy that drew the log.

    Raises:
        UnknownEstimator: an estimator or interval that does not exist.
        InvalidRounds: rounds that nothing can be computed from.

    >>> rng = np.random.default_rng(3)
    >>> action = rng.integers(0, 2, 4000)
    >>> rewards = (rng.random(4000) < 0.1 + 0.1 * action).astype(float)
    >>> log = Log(("a", "b"), action, rewards, np.full(4000, 0.5))
    >>> often_b = np.tile([0.1, 0.9], (4000, 1))
    >>> found = evaluate(log, Candidate("often b", log.at_actions(often_b), often_b))
    >>> found.verdict, round(found.estimates["snips"].value, 3)
    ('better', 0.191)
    """
    asked = chosen_estimators(how.estimators)
    methods = interval_methods.chosen(how.intervals)
    baseline = baseline or logged(log)
    needs_model = any(one.needs_model for one in asked)
    log = _modelled(log) if needs_model and candidate.dist is not None else log
    rounds = weighed(log, candidate)
    others = weighed(log, baseline)
    head = headline(log, candidate, baseline)
    found = diagnose(log, candidate, rounds)
    overlaps = bool(rounds.weights.any())
    terms = _apart(asked, rounds)
    resamples = _resamples(terms, rounds, how, methods)
    estimates = {
        one.name: _estimate(
            one, terms[one.name], rounds, methods, how, resamples.get(one.name), found.unsupported
        )
        for one in asked
    }
    (value, low, high), (other, other_low, other_high), (off, off_low, off_high) = _both(
        head, rounds, others, how, found
    )
    if candidate.name == baseline.name:
        off, off_low, off_high = 0.0, 0.0, 0.0
    said = verdict(found, off_low, off_high, overlaps=overlaps)
    return Evaluation(
        candidate=candidate.name,
        baseline=baseline.name,
        confidence=how.confidence,
        headline=head.name,
        estimates=estimates,
        candidate_value=Difference(value, _told((low, high))),
        baseline_value=Difference(other, _told((other_low, other_high))),
        difference=Difference(off, _told((off_low, off_high))),
        diagnostics=found,
        verdict=said,
        refused_rows=len({one.row for one in log.refused}),
        refused=[str(one) for one in log.refused[:100]],
        promotion=(
            promotion(log, found, said, rounds, others, how.margins, how.confidence, learning=how.learning)
            if how.promote
            else None
        ),
    )


def weighed(log: Log, candidate: Candidate) -> Weighed:
    """Return the log's rounds as a candidate sees them.

    The largest weight there can be is the candidate's largest probability over the smallest propensity.
    """
    weights = candidate.chosen / log.propensities
    most = candidate.chosen if candidate.dist is None else candidate.dist
    largest = max(float(most.max() / log.propensities.min()), float(weights.max()))
    model: dict[str, FloatArray] = {}
    if log.estimated is not None and candidate.dist is not None:
        model = {
            "q_chosen": log.at_actions(log.estimated),
            "q_candidate": np.einsum("ij,ij->i", candidate.dist, log.estimated),
        }
    caps = None
    if log.logged_dist is not None and candidate.dist is not None:
        # What each round could weigh was known before its draw.
        possible = np.zeros_like(candidate.dist)
        np.divide(candidate.dist, log.logged_dist, out=possible, where=log.logged_dist > 0)
        caps = np.maximum(possible.max(axis=1), weights)
    if candidate.name == LOGGED:
        largest, caps = 1.0, None
    return Weighed(
        log.rewards,
        weights,
        low=log.low,
        high=log.high,
        largest=largest,
        certain=candidate.chosen >= 1 - 1e-9,
        owners=log.owners,
        round_caps=caps,
        **model,
    )


def headline(log: Log, candidate: Candidate, baseline: Candidate) -> Estimator:
    """Return the estimator that the verdict rests on: SNDR with the log's own reward model, else SNIPS."""
    if log.estimated is not None and candidate.dist is not None and baseline.dist is not None:
        return ESTIMATORS["sndr"]
    return ESTIMATORS["snips"]


def _modelled(log: Log) -> Log:
    return log if log.estimated is not None else replace(log, estimated=predictions(log))


def _apart(asked: Sequence[Estimator], rounds: Weighed) -> dict[str, Terms | str]:
    """Return each estimator's terms, or why it has none."""
    apart: dict[str, Terms | str] = {}
    for one in asked:
        try:
            terms = one.terms(rounds)
            # What divides by nothing says so.
            _ = terms.value
        except InvalidRounds as error:
            apart[one.name] = str(error)
        else:
            apart[one.name] = terms
    return apart


def _resamples(
    terms: Mapping[str, Terms | str], rounds: Weighed, how: How, methods: Sequence[str]
) -> dict[str, Pair]:
    """Return the bootstrap interval of each estimator, if it was asked for or of those that have no other."""
    several = {
        name: one
        for name, one in terms.items()
        if isinstance(one, Terms) and (BOOTSTRAP in methods or pick(one, rounds) == BOOTSTRAP)
    }
    if not several:
        return {}
    estimates = resampled(list(several.values()), rounds, how.resamples, how.seed)
    return dict(zip(several, percentiles(estimates, how.confidence), strict=True))


def _estimate(
    estimator: Estimator,
    terms: Terms | str,
    rounds: Weighed,
    methods: Sequence[str],
    how: How,
    bootstrap: Pair | None,
    unsupported: float,
) -> EstimateOf:
    if isinstance(terms, str):
        return EstimateOf(estimator.title, estimator.parameter, None, None, None, why=terms)
    method = pick(terms, rounds)
    made: dict[str, Pair | None] = {}
    for name in dict.fromkeys([method, *methods]):
        one = bootstrap if name == BOOTSTRAP else CLOSED[name](terms, rounds, how.confidence)
        made[name] = None if one is None else _widened(one, rounds, unsupported)
    told = {name: None if one is None else _told(one) for name, one in made.items()}
    return EstimateOf(
        title=estimator.title,
        parameter=estimator.parameter,
        value=terms.value,
        interval=told[method],
        method=method,
        intervals={name: told[name] for name in methods},
    )


def _both(
    head: Estimator, rounds: Weighed, others: Weighed, how: How, found: Diagnostics
) -> tuple[Bounded, Bounded, Bounded]:
    """Return value and interval of the candidate, of the baseline, and of their difference."""
    baseline = (
        head.terms(others) if others.has_model or not head.needs_model else ESTIMATORS["snips"].terms(others)
    )
    other = (baseline.value, *(_closed(baseline, others, how) or (others.low, others.high)))
    if not rounds.weights.any():
        candidate = (others.low, others.low, others.high)
        return candidate, other, difference(candidate, other, 0.0)
    terms = head.terms(rounds)
    low, high = _widened(_closed(terms, rounds, how) or (rounds.low, rounds.high), rounds, found.unsupported)
    candidate = (terms.value, low, high)
    off, reach = terms.value - baseline.value, rounds.high - rounds.low
    seen = shows_shape(terms, rounds) and shows_shape(baseline, others)
    if seen and found.unsupported == 0 and abs(off) < reach:
        both = units.shape(rounds, terms.influence - baseline.influence)
        return candidate, other, (off, *shaped(off, both, (-reach, reach), how.confidence))
    related = correlation(rounds, terms.influence, baseline.influence)
    return candidate, other, difference(candidate, other, related)


def _closed(terms: Terms, rounds: Weighed, how: How) -> Pair | None:
    method = pick(terms, rounds)
    return CLOSED["likelihood" if method == BOOTSTRAP else method](terms, rounds, how.confidence)


def _widened(interval: Pair, rounds: Weighed, unsupported: float) -> Pair:
    """Let what was never tried bring anything from the lowest to the highest reward."""
    low, high = interval
    kept = 1 - unsupported
    return low * kept + rounds.low * unsupported, high * kept + rounds.high * unsupported


def _told(interval: Pair) -> tuple[float | None, float | None]:
    low, high = interval
    return (low if math.isfinite(low) else None), (high if math.isfinite(high) else None)
