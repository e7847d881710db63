"""What proof says against a policy in charge, and how past claims did. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from learning.challengers.estimates import Estimate
from learning.challengers.models import Claim, EstimateRecord, Evidence, Record
from learning.challengers.rules import MARGIN
from playbooks.money import rate


def worse(former: Evidence) -> str:
    """Return how the policy in charge is proven worse than the one before, "" if that is not proven.

    Args:
        former: the evidence for the one before, against the one in charge.
    """
    if former.low is not None and former.low > 0:
        return (
            f"it earns less than {former.policy}: {former.value:.4g} a decision, for sure at least "
            f"{former.low:.4g}"
        )
    for guard in former.guards:
        # What the former one would have less of, the one in charge has more of.
        if guard.high < -guard.margin:
            what = "margin is lower" if guard.name == MARGIN else f"{guard.name} are more"
            return (
                f"{what} than with {former.policy}, for sure by {rate(-guard.high, guard.unit)} a decision, "
                f"more than {rate(guard.margin, guard.unit)}"
            )
    return ""


def record_of(claims: Sequence[Claim], estimates: Sequence[Estimate] = ()) -> Record:
    """Return how past claims did, of promotions and of evaluations, with a sentence to show beside new ones.

    >>> record_of([]).says
    'no claim has been made yet'
    """
    done = [(one.promised, one.live) for one in claims if one.live is not None]
    held = sum(1 for _, live in done if live is not None and live.held)
    promised = _mean([_share(one.value, one.baseline) for one, _ in done])
    came = _mean([_share(live.value, live.baseline) for _, live in done if live is not None])
    says = []
    if claims and not done:
        says.append(f"{len(claims)} claims were made; of none is it known yet what came of it")
    elif claims:
        # Of several, the least that was promised; each end of an interval has the confidence by itself.
        sure = 100 * (1 - 2 * (1 - min(one.confidence for one, _ in done)))
        says.append(f"of {len(done)} claims with {sure:.4g}% intervals {held} held")
        if promised is not None and came is not None:
            says.append(f"promised {promised:+.0%} on average, {came:+.0%} live")
    of_estimates = _of_estimates(estimates)
    if estimates:
        says.append(_said_of(of_estimates, min(one.confidence for one in estimates)))
    told = "; ".join(says) or "no claim has been made yet"
    return Record(len(claims), len(done), held, promised, came, of_estimates, told)


def _of_estimates(estimates: Sequence[Estimate]) -> EstimateRecord:
    done = [(one, one.came) for one in estimates if one.came is not None]
    lifts = [came.lift_held for _, came in done if came.lift_held is not None]
    off = _mean([_share(came.value.value - one.value.value, abs(one.value.value)) for one, came in done])
    held = sum(came.held for _, came in done)
    return EstimateRecord(len(estimates), len(done), held, len(lifts), sum(lifts), off)


def _said_of(record: EstimateRecord, confidence: float) -> str:
    if not record.scored:
        return f"{record.made} evaluations were made; of none is it known yet what came of it"
    share = f"{100 * confidence:.4g}%"
    said = f"of {record.scored} evaluations with {share} intervals the value of {record.held} held"
    if record.off is not None:
        said += f" ({record.off:+.0%} on average)"
    if record.lifts:
        said += f"; of {record.lifts} lifts {record.lifts_held} held"
    return said


def _share(value: float | None, baseline: float | None) -> float | None:
    return None if value is None or not baseline else value / baseline


def _mean(shares: Sequence[float | None]) -> float | None:
    known = [one for one in shares if one is not None]
    return sum(known) / len(known) if known else None
