"""An evaluation as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from learning.evaluation import Evaluation
from learning.evaluation.diagnostics import FAR
from learning.evaluation.evaluate import EstimateOf
from learning.evaluation.promotion import Promotion

_SHOWN = 12
_ROWS = 5
# Room for the longest name of an estimator with its parameter.
_LABEL = 20


def told(found: Evaluation) -> Iterator[str]:
    """Yield the lines: verdict, estimates, and what must be known beside them."""
    seen = found.diagnostics
    share = f"{found.confidence:.0%}"
    yield f"{found.candidate} against {found.baseline}: {found.verdict}"
    yield (
        f"difference {found.difference.value:+.4f}, {share} interval {_bounds(found.difference.interval)}; "
        f"by {found.headline}"
    )
    yield ""
    yield f"{'estimator':<{_LABEL}}{'value':>10}  {share} interval"
    for name, one in found.estimates.items():
        yield from _lines(name, one)
    baseline = found.baseline_value
    yield f"{'baseline':<{_LABEL}}{baseline.value:>10.4f}  {_bounds(baseline.interval)}"
    naive = seen.naive
    matched = "" if naive.matched_mean is None else f"; of rounds with its favourite {naive.matched_mean:.4f}"
    yield f"{'naive':<{_LABEL}}{naive.logged_mean:>10.4f}  the plain mean of the log{matched}"
    yield ""
    users = "" if seen.users is None else f" of {seen.users:,} users"
    yield f"rounds {seen.rounds:,}{users}, worth {seen.effective_sample_size:,.0f} of this policy"
    errors = seen.mean_weight.z
    off = f"{errors:+.1f} standard errors off 1" if abs(errors) < FAR else "which is no chance"
    yield (
        f"largest weight {seen.largest_weight:.4g} ({seen.largest_share:.1%} of all), weights average "
        f"{seen.mean_weight.value:.4f} ({off})"
    )
    heads = f"{'rounds':>8}{'logged':>9}{'candidate':>11}{'largest w':>11}{'worth':>9}{'p fits':>8}"
    yield f"{'action':<26}{heads}"
    most = sorted(zip(seen.overlap, seen.propensity_calibration, strict=True), key=lambda one: -one[0].rounds)
    for action, calibration in most[:_SHOWN]:
        candidate = "" if action.candidate is None else f"{action.candidate:.1%}"
        yield (
            f"{action.action[:25]:<26}{action.rounds:>8,}{action.logged:>9.1%}{candidate:>11}{action.largest_weight:>11.4g}"
            f"{action.effective:>9,.0f}{'yes' if calibration.ok else 'NO':>8}"
        )
    if len(most) > _SHOWN:
        yield f"… and {len(most) - _SHOWN} more actions (--json has all)"
    if found.promotion is not None:
        yield from _promotion(found.promotion)
    for doubt in seen.doubts:
        yield f"doubt: {doubt}"
    if found.refused_rows:
        more = "; … (--json has more)" if found.refused_rows > _ROWS else ""
        yield f"{found.refused_rows} rows were left out: {'; '.join(found.refused[:_ROWS])}{more}"


def _promotion(gate: Promotion) -> Iterator[str]:
    word = "yes" if gate.promote else "refused"
    yield f"promotion: {word}; at all times the gain is at least {gate.low:+.4f}"
    for one in gate.guards:
        kept = "kept" if one.kept else "NOT kept"
        yield f"guard {one.name}: {one.value:+.4f}, at most {one.high:+.4f} of {one.margin:g}: {kept}"
    yield from (f"refused: {reason}" for reason in gate.reasons)


def _lines(name: str, one: EstimateOf) -> Iterator[str]:
    """Yield the estimate with the interval that was picked, then each other one that there is."""
    label = name if one.parameter is None else f"{name}={one.parameter:g}"
    if one.value is None:
        yield f"{label:<{_LABEL}}{'none':>10}  {one.why}"
        return
    yield f"{label:<{_LABEL}}{one.value:>10.4f}  {_bounds(one.interval)} {one.method}"
    for method, bounds in one.intervals.items():
        if method != one.method and bounds is not None:
            yield f"{'':<{_LABEL}}{'':>10}  {_bounds(bounds)} {method}"


def _bounds(interval: tuple[float | None, float | None] | None) -> str:
    if interval is None:
        return "none"
    low, high = interval
    return f"{'-∞' if low is None else f'{low:.4f}'} to {'∞' if high is None else f'{high:.4f}'}"
