"""Which lines of points predicted that sales accepts: acceptance with and without each, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from audiences.scores.facts import Answer
from storage import ledger
from storage.ledger import Kind

# Fewer answers than this on either side say nothing about a line.
ENOUGH = 10


def answers_of(connection: Connection, score: str) -> list[Answer]:
    """Return all answers that sales gave to hand-overs of a score, in the order they were recorded."""
    found: list[Answer] = []
    position = 0
    labels = [f"{score}.accepted", f"{score}.rejected"]
    while page := ledger.read_after(connection, position, kind=Kind.SCORE, labels=labels):
        position = page[-1].seq
        found += [fact.decode(Answer) for fact in page]
    return found


def predictors(answers: Sequence[Answer], lines: Sequence[str]) -> list[dict[str, Any]]:
    """Return, for each line of points, how acceptance differs between hand-overs with and without it.

    A hand-over is "with" a line that was worth anything at that moment, above or below zero. `difference` is
    the share accepted with the line less the share accepted without it, with a 95 % interval by Newcombe's
    hybrid score method (R. G. Newcombe, "Interval estimation for the difference between independent
    proportions", Statistics in Medicine 17, 1998, method 10). `tells` says whether the interval leaves 0 out
    and both sides have at least `ENOUGH` answers. The largest difference comes first; lines that every or
    no hand-over had are last, for nothing can be said of them.
    """
    rows = []
    for line in lines:
        having = [one.accepted for one in answers if one.lines.get(line)]
        lacking = [one.accepted for one in answers if not one.lines.get(line)]
        row: dict[str, Any] = {
            "line": line,
            "with": {"answers": len(having), "accepted": sum(having)},
            "without": {"answers": len(lacking), "accepted": sum(lacking)},
            "difference": None,
            "low": None,
            "high": None,
            "tells": False,
        }
        if having and lacking:
            difference, low, high = difference_interval(sum(having), len(having), sum(lacking), len(lacking))
            enough = min(len(having), len(lacking)) >= ENOUGH
            row |= {"difference": difference, "low": low, "high": high}
            row["tells"] = enough and (low > 0 or high < 0)
        rows.append(row)
    return sorted(rows, key=lambda row: -abs(row["difference"]) if row["difference"] is not None else 1)


def difference_interval(a: int, of_a: int, b: int, of_b: int) -> tuple[float, float, float]:
    """Return a/of_a − b/of_b and its 95 % interval (Newcombe 1998, method 10, from Wilson intervals).

    >>> tuple(round(value, 4) for value in difference_interval(56, 70, 48, 80))
    (0.2, 0.0524, 0.3339)
    """
    # All of scipy.stats takes a second to import: for a report, not for every start.
    from scipy.stats import binomtest  # noqa: PLC0415

    share_a, share_b = a / of_a, b / of_b
    wilson_a = binomtest(a, of_a).proportion_ci(method="wilson")
    wilson_b = binomtest(b, of_b).proportion_ci(method="wilson")
    difference = share_a - share_b
    low = difference - math.hypot(share_a - wilson_a.low, wilson_b.high - share_b)
    high = difference + math.hypot(wilson_a.high - share_a, share_b - wilson_b.low)
    return difference, low, high
