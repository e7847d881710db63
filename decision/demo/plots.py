"""Plots of the demo's report, as SVG that goes straight into the page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from learning.evaluation.plots import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A palette that colour-blind readers can tell apart (Okabe and Ito, 2008).
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#777777"
_CYCLE = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9")


def audience_sizes(sizes: Sequence[tuple[int, Mapping[str, int]]]) -> str:
    """Draw how many households each audience held at each fortnight."""
    figure, axes = _figure()
    weeks = [week for week, _ in sizes]
    for colour, name in zip(_CYCLE, sorted(sizes[0][1]), strict=False):
        values = [by_name[name] for _, by_name in sizes]
        axes.plot(weeks, values, color=colour, marker="o", markersize=3)
        _label(axes, name, weeks[-1], values[-1], color=colour)
    axes.set(xlabel="week", ylabel="households", ylim=(0, None))
    return _svg(figure)


def value_over_time(
    weeks: Sequence[int], policy: Sequence[float], baselines: Mapping[str, Sequence[float]]
) -> str:
    """Draw the policy's true value at each fortnight against the baselines."""
    figure, axes = _figure()
    for colour, (name, values) in zip((GREY, PURPLE, ORANGE, GREEN), baselines.items(), strict=True):
        axes.plot(weeks, values, color=colour, linewidth=1.2, linestyle="--")
        _label(axes, name, weeks[-1], values[-1], color=colour)
    axes.plot(weeks, policy, color=BLUE, linewidth=2.2, marker="o", markersize=4)
    _label(axes, "policy", weeks[-1], policy[-1], color=BLUE, weight="bold", va="bottom")
    axes.set(xlabel="week", ylabel="share of households that use the offer", ylim=(0, None))
    return _svg(figure)


def funnel(stages: Mapping[str, int]) -> str:
    """Draw the counts from decision to used offer as bars."""
    figure, axes = _figure(height=0.42 * len(stages) + 0.6)
    names = list(stages)
    counts = [stages[name] for name in names]
    axes.barh(names, counts, color=BLUE, height=0.6)
    for place, count in enumerate(counts):
        _label(axes, f"{count:,}", count, place)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="")
    axes.xaxis.set_visible(False)
    return _svg(figure)


def reward_by_category(
    chosen: Mapping[str, int], relevant: Mapping[str, int], base: Mapping[str, float]
) -> str:
    """Draw how often the offers of each category were used, and would have been had everyone got one."""
    names = sorted(chosen, key=lambda name: relevant[name] / chosen[name] if chosen[name] else 0.0)
    figure, axes = _figure(height=0.21 * len(names) + 0.8)
    rates = [relevant[name] / chosen[name] if chosen[name] else 0.0 for name in names]
    axes.barh(names, rates, color=BLUE, height=0.7, label="offered by the policy")
    axes.scatter(
        [base[name] for name in names], names, color=ORANGE, s=14, zorder=3, label="offered to everyone"
    )
    for place, name in enumerate(names):
        _label(axes, f"{chosen[name]:,} offers", rates[place], place, fontsize=7, color=GREY)
    axes.set(xlabel="share of offers used", ylim=(-0.7, len(names) - 0.3))
    axes.tick_params(axis="y", labelsize=8)
    axes.legend(frameon=False, loc="lower right")
    return _svg(figure)


def _label(axes: Any, text: str, x: float, y: float, **style: Any) -> None:
    """Write beside a point, a little to its right."""
    axes.annotate(
        text,
        (x, y),
        xytext=(7, 0),
        textcoords="offset points",
        annotation_clip=False,
        **{"va": "center", "fontsize": 9, **style},
    )


def _figure(height: float = 3.4) -> tuple[Figure, Any]:
    # The object interface of matplotlib, which needs no display and keeps no global state.
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, needed for reports only
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.2, height))
        return figure, figure.subplots()


def _svg(figure: Figure) -> str:
    import matplotlib as mpl  # noqa: PLC0415

    out = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
