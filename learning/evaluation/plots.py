"""Pictures of an evaluation: estimates with intervals, weights, overlap, value over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from learning.evaluation.candidates import Candidate
from learning.evaluation.estimators.snips import SNIPS
from learning.evaluation.evaluate import Evaluation, weighed
from learning.evaluation.intervals.sequence import confidence_sequence
from learning.evaluation.log import Log
from learning.evaluation.rounds import FloatArray, Weighed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A palette that colour-blind readers can tell apart (Okabe and Ito, 2008).
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#777777"
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "svg.fonttype": "none",
    "svg.hashsalt": "nextplay",
}
_WIDTH = 7.5
# Points of a value over time, and actions of an overlap, that a picture has room for.
_TIMES = 24
_ACTIONS = 20
# More marks than this would hide what they are to explain.
_MARKS = 12
# Changes that are nearer to each other, as a share of the time shown, have one mark that names so many.
_NEAR = 1 / 40
_NAMED = 3

Marks = Sequence[tuple[datetime, str]]


def figures(
    log: Log, candidate: Candidate, baseline: Candidate, found: Evaluation, marks: Marks = ()
) -> Mapping[str, Figure]:
    """Return the pictures of an evaluation by name, in the order in which they are read.

    Args:
        marks: changes, when and what, to be drawn into the value over time.
    """
    import matplotlib as mpl  # noqa: PLC0415 - a second, for those who want pictures

    with mpl.rc_context(STYLE):
        return {
            "forest": _forest(found),
            "weights": _weights(weighed(log, candidate)),
            "overlap": _overlap(found),
            "value": _value(log, candidate, baseline, marks),
        }


def _forest(found: Evaluation) -> Figure:
    rows = [
        (name, one.value, one.interval, _BLUE if name == found.headline else _GREY)
        for name, one in found.estimates.items()
        if one.value is not None and one.interval is not None
    ]
    rows.append(("baseline", found.baseline_value.value, found.baseline_value.interval, _ORANGE))
    figure, axes = _figure(height=0.34 * len(rows) + 1.0)
    for place, (_, value, (low, high), colour) in enumerate(rows):
        ends = (value if low is None else low), (value if high is None else high)
        axes.plot(ends, (place, place), color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot([value], [place], "o", color=colour, markersize=5)
        axes.annotate(
            f"{value:.4g}", (ends[1], place), (6, 0), textcoords="offset points", va="center", fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
    names = [f"{name} (verdict)" if name == found.headline else name for name, *_ in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.axvline(found.baseline_value.value, color=_ORANGE, linewidth=0.8, linestyle=":")
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(f"value per decision, {found.confidence:.0%} intervals")
    return figure


def _weights(rounds: Weighed) -> Figure:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415 - as above

    figure, axes = _figure()
    positive = rounds.weights[rounds.weights > 0]
    if len(positive):
        low, high = float(positive.min()), float(positive.max())
        bins = (
            np.geomspace(low, high * (1 + 1e-9), 40)
            if high > low * 1.01
            else np.array([low * 0.9, high * 1.1])
        )
        axes.hist(positive, bins=bins.tolist(), color=_BLUE)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda weight, _: f"{weight:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(1.0, color=_GREY, linewidth=1, linestyle="--")
    none = len(rounds) - len(positive)
    axes.set(xlabel=f"weight of a round ({none:,} of {len(rounds):,} rounds weigh nothing)", ylabel="rounds")
    return figure


def _overlap(found: Evaluation) -> Figure:
    most = sorted(found.diagnostics.overlap, key=lambda one: -max(one.logged, one.candidate or 0.0))[
        :_ACTIONS
    ]
    figure, axes = _figure(height=0.36 * len(most) + 1.0)
    places = np.arange(len(most))
    axes.barh(places - 0.2, [one.logged for one in most], height=0.38, color=_GREY, label="logged")
    if any(one.candidate is not None for one in most):
        shares = [one.candidate or 0.0 for one in most]
        axes.barh(places + 0.2, shares, height=0.38, color=_BLUE, label=found.candidate)
    axes.set_yticks(places, [one.action[:28] for one in most])
    axes.invert_yaxis()
    # Above, where no bar reaches.
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    axes.set_xlabel("share of decisions")
    return figure


def _value(log: Log, candidate: Candidate, baseline: Candidate, marks: Marks) -> Figure:
    """Draw the confidence sequences as they ran: what was known after each part of the log."""
    order = np.arange(len(log)) if log.moments is None else np.argsort(log.moments, kind="stable")
    sizes = np.unique(np.linspace(len(log) / _TIMES, len(log), _TIMES).astype(int))
    sizes = sizes[sizes > 0]
    when = sizes if log.moments is None else log.moments[order][sizes - 1]
    figure, axes = _figure(height=3.6)
    for one, colour in ((baseline, _ORANGE), (candidate, _BLUE)):
        values, lows, highs = _sequence(weighed(log, one), order, sizes)
        axes.plot(when, values, color=colour, linewidth=1.8, label=one.name)
        axes.fill_between(when, lows, highs, color=colour, alpha=0.15, linewidth=0)
    _mark(axes, log, marks)
    # Above: marks stand in the whole height.
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    axes.set_ylabel("value per decision")
    axes.set_xlabel("rounds" if log.moments is None else "time (UTC)")
    if log.moments is not None:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415 - as above

        locator = AutoDateLocator()
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    return figure


def _sequence(
    rounds: Weighed, order: NDArray[np.intp], sizes: NDArray[np.intp]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    found = np.full((3, len(sizes)), np.nan)
    for place, size in enumerate(sizes):
        part = order[:size]
        owners = None if rounds.owners is None else np.unique(rounds.owners[part], return_inverse=True)[1]
        seen = replace(
            rounds,
            rewards=rounds.rewards[part],
            weights=rounds.weights[part],
            certain=None,
            q_chosen=None,
            q_candidate=None,
            owners=owners,
            round_caps=None if rounds.round_caps is None else rounds.round_caps[part],
        )
        if seen.weights.any():
            terms = SNIPS.terms(seen)
            low, high = confidence_sequence(terms, seen, 0.95) or (np.nan, np.nan)
            found[:, place] = terms.value, low, high
    return found[0], found[1], found[2]


def _mark(axes: Axes, log: Log, marks: Marks) -> None:
    if log.moments is None:
        return
    from matplotlib.dates import date2num  # noqa: PLC0415 - as above

    first, last = (one.item() for one in (log.moments.min(), log.moments.max()))
    shown = sorted((when.replace(tzinfo=None), what) for when, what in marks)
    inside = [(when, what) for when, what in shown if first <= when <= last]
    for when, what in together(inside, (last - first) * _NEAR)[-_MARKS:]:
        axes.axvline(date2num(when), color=_GREY, linewidth=0.8, linestyle="--")
        axes.annotate(
            what, (when, 1.0), (2, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
            rotation=90, va="top", ha="left", fontsize=7, color=_GREY,
        )  # fmt: skip


def together(marks: Marks, near: timedelta) -> list[tuple[datetime, str]]:
    """Return marks in their order, those that follow at most `near` after the first of some as one.

    >>> at = datetime(2026, 3, 2)
    >>> together([(at, "a"), (at, "b"), (at + timedelta(days=9), "c")], timedelta(days=1))
    [(datetime.datetime(2026, 3, 2, 0, 0), 'a, b'), (datetime.datetime(2026, 3, 11, 0, 0), 'c')]
    """
    groups: list[tuple[datetime, list[str]]] = []
    for when, what in marks:
        if not groups or when - groups[-1][0] > near:
            groups.append((when, []))
        groups[-1][1].append(what)
    return [(when, _named(names)) for when, names in groups]


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _figure(height: float = 3.0) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots()
