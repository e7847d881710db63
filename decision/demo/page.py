"""The demo's report: one self-contained HTML page."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from decision.demo import plots
from decision.demo.data import DECISION_WEEKS, LAST_QUARTER, CompleteJourney
from decision.demo.measure import Truth
from decision.demo.run import Year

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 54rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .25rem .9rem .25rem 0; border-bottom: 1px solid #e3e3e3; text-align: left;
  font-weight: normal; }
td.number { text-align: right; } tr.ours th, tr.ours td { font-weight: 600; }
.note { background: #f6f3ea; border-left: 4px solid #d9c98c; padding: .6rem 1rem; }
svg { max-width: 100%; height: auto; } small { color: #666; }
"""


def render(summary: dict[str, Any], journey: CompleteJourney, year: Year, truth: Truth) -> str:
    """Return the page; everything on it is in the summary or counted from the same ledger."""
    weeks = list(DECISION_WEEKS)
    by_week = [journey.baselines([week]) for week in weeks]
    over_time = plots.value_over_time(
        weeks,
        [truth.value([week]) for week in weeks],
        {
            "uniform": [one.uniform for one in by_week],
            "best constant": [one.best_constant for one in by_week],
            "frequent category": [one.frequent_category for one in by_week],
            "oracle": [one.oracle for one in by_week],
        },
    )
    everyone = np.concatenate([journey.truth(week) for week in weeks])
    by_category = plots.reward_by_category(
        truth.chosen,
        truth.relevant,
        dict(zip(journey.categories, everyone.mean(axis=0).tolist(), strict=True)),
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>nextplay: a year of decisions</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>
<h1>A year of decisions</h1>
<p>{summary["households"]:,} households, {summary["transaction_lines"]:,} transaction lines,
{summary["decisions"]:,} decisions: one for every household at the start of weeks {weeks[0]}, {weeks[1]} …
{weeks[-1]}.</p>
<p class="note">The data is The Complete Journey: simulated from real shopping patterns by its publisher,
84.51°. An offer counts as used when the household buys in its category within two weeks. That is relevance,
not causation: the data can’t say whether an offer caused a purchase, so offers carry no money here.</p>
<h2>What the policy is worth</h2>
{_value_table(summary)}
<p><small>True mean reward over all households at weeks {LAST_QUARTER[0]} to {LAST_QUARTER[-1]}; who got
no offer counts as 0; exploration is included.</small></p>
{over_time}
<h2>What would more exploration have cost?</h2>
{_ope(summary["ope"])}
<h2>From decision to use</h2>
{plots.funnel(funnel(summary))}
{_suppressed(summary["suppressed"])}
<h2>Audiences</h2>
{plots.audience_sizes(year.audience_sizes)}
<h2>Reward by category</h2>
{by_category}
</body></html>
"""


def funnel(summary: dict[str, Any]) -> dict[str, int]:
    """Return the stages from decision to used offer, each counted from its own facts."""
    messages, offers = summary["messages"], summary["offers"]
    return {
        "decided": summary["decisions"],
        "enrolled": summary["enrolments"],
        "offer issued": offers["issued"],
        "message queued": messages.get("queued", 0),
        "message sent": messages.get("sent", 0),
        "message delivered": messages.get("delivered", 0),
        "offer used": offers["used"],
    }


def _value_table(summary: dict[str, Any]) -> str:
    value = summary["value"]
    rows = (
        ("Policy, exploration included", value["policy_last_quarter"], True),
        ("Most frequent category of the last 12 weeks", value["frequent_category"], False),
        ("Best constant category in hindsight", value["best_constant"], False),
        ("Uniform random", value["uniform"], False),
        ("Oracle (knows the purchases)", value["oracle"], False),
    )
    body = "".join(
        f'<tr{" class=ours" if ours else ""}><th>{escape(name)}</th><td class="number">{number:.3f}</td></tr>'
        for name, number, ours in rows
    )
    return f"<table>{body}</table>"


def _ope(ope: dict[str, Any]) -> str:
    low, high = ope["interval"]
    doubts = "".join(f"<li>{escape(doubt)}</li>" for doubt in ope["doubts"])
    return f"""<p>The candidate is the version in charge at week {LAST_QUARTER[0]}, kept as it was
and exploring ten times as much ({escape(ope["candidate"])}). From the log alone
({escape(ope["estimator"])}) its value is {ope["estimate"]:.4f}, 95 % interval {low:.4f} to {high:.4f}.
Its true value on the same decisions is {ope["truth"]:.4f}.</p>
<p><small>Effective sample size {ope["effective_sample_size"]:,.0f}, largest weight
{ope["largest_weight"]:,.1f}.</small></p>{f"<ul>{doubts}</ul>" if doubts else ""}"""


def _suppressed(suppressed: dict[str, int]) -> str:
    body = "".join(
        f'<tr><th><code>{escape(rule)}</code></th><td class="number">{number:,}</td></tr>'
        for rule, number in suppressed.items()
    )
    return f"<p>Playbooks stopped for a household, by the rule that stopped them:</p><table>{body}</table>"
