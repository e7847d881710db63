"""`python -m benchmarks.market`: how far of the way to the oracle's choice the market's policy comes."""

from __future__ import annotations

import json
import os
import time
from typing import Annotated, Any

import typer

from benchmarks.market.customers import FORMS, Form, Market
from benchmarks.market.in_process import Playing
from benchmarks.market.parameters import read_parameters
from benchmarks.market.tally import Tally

_PARTS = 1_000


def main(
    decisions: Annotated[int, typer.Option(min=1, help="Decisions of a run in this process.")] = 200_000,
    seeds: Annotated[int, typer.Option(min=1, help="So many runs for each form, of seeds 1, 2, …")] = 20,
    form: Annotated[list[str] | None, typer.Option(help="Form of response; both without it.")] = None,
    url: Annotated[str | None, typer.Option(help="Play over HTTP with the service at this address.")] = None,
    weeks: Annotated[int, typer.Option(min=1, help="Weeks over HTTP.")] = 8,
    customers: Annotated[int, typer.Option(min=1, help="Customers over HTTP.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play the market and print what the policy earned, a line per seed and form."""
    forms = [one for one in FORMS if form is None or one in form]
    if not forms:
        raise typer.BadParameter(f"there are the forms {', '.join(FORMS)}", param_hint="--form")
    rows = []
    if url is not None:
        rows.append(_over_http(url, forms[0], weeks, customers))
        _show(rows[0], as_json)
    else:
        for one in forms:
            for seed in range(1, seeds + 1):
                rows.append(_alone(one, seed, decisions))
                _show(rows[-1], as_json)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        typer.echo(f"least way: {min(row['way'] for row in rows):.3f}")


def _alone(form: Form, seed: int, decisions: int) -> dict[str, Any]:
    started = time.monotonic()
    playing = Playing(Market(read_parameters(), form, seed))
    tally = playing.play(decisions)
    money = {key: taken for key, taken in playing.taken.items() if key.startswith("budget.")}
    over = [key for key, taken in money.items() if taken > playing.limits[key]]
    return {
        **_row(form, seed, tally),
        "explored": tally.explored / _PARTS / 100,
        "narrowed": tally.narrowed,
        "budgets": len(money),
        "most_spent_cents": max(money.values(), default=0),
        "budgets_exceeded": over,
        "seconds": round(time.monotonic() - started, 1),
    }


def _over_http(url: str, form: Form, weeks: int, customers: int) -> dict[str, Any]:
    from benchmarks.market.over_http import Visiting  # noqa: PLC0415 - imports the demo
    from decision.demo.client import ServiceClient  # noqa: PLC0415

    market = Market(read_parameters(), form, 1, customers)
    service = ServiceClient(url, os.environ.get("NEXTPLAY_KEY", ""))
    try:
        visiting = Visiting(market, service)
        visiting.introduce()
        for day in visiting.live(range(7 * weeks)):
            typer.echo(f"day {day + 1}: {visiting.tally.decisions} decisions", err=True)
        return {**_row(form, market.seed, visiting.tally), "fallbacks": visiting.fallbacks}
    finally:
        service.close()


def _row(form: Form, seed: int, tally: Tally) -> dict[str, Any]:
    made = tally.decisions
    return {
        "form": form,
        "seed": seed,
        "decisions": made,
        "single": tally.best_single / made,
        "policy": tally.policy / made,
        "oracle": tally.oracle / made,
        "way": tally.way,
        "realised": tally.realised / made,
        "nothing_drawn": tally.idle,
    }


def _show(row: dict[str, Any], as_json: bool) -> None:
    if not as_json:
        typer.echo("  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))


if __name__ == "__main__":
    typer.run(main)
