"""Is an audience right? Judged by users of whom somebody says whether they belong in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from audiences.errors import ListRefused
from audiences.rules import Rule, trace
from audiences.selection import repository
from audiences.selection.drift import CONFIDENCE, LARGE, MODERATE, drift
from audiences.selection.lists import lines_of
from audiences.selection.service import Audiences
from storage.engine import Database

MAX_LABELS = 20_000
# Users of the population that the labelled ones are compared with.
POPULATION = 5_000
_YES = {"1", "true", "yes", "y", "in", "t"}
_NO = {"0", "false", "no", "n", "out", "f"}


class Labelled:
    """Judges audiences by labelled users. Changes nothing."""

    def __init__(self, database: Database, audiences: Audiences) -> None:
        self._database = database
        self._audiences = audiences
        self._population = audiences.population
        self._canonical = audiences.canonical

    def judge(self, audience: str, body: bytes, now: datetime) -> dict[str, Any]:
        """Compare an audience with labels, a CSV of `user_id,expected`.

        An audience with a rule is judged by the rule as it is now, over features as of `now`; others by who
        is in them. Each wrongly placed user comes with the part of the rule that decided. `drift` says for
        which features the labelled users are not like the population: there the figures do not apply.

        Raises:
            UnknownAudience: there is none.
            ListRefused: a line is wrong, a user is labelled both ways, or nobody is known.
            feature_repo.errors.SnapshotMissing: no features were computed yet.
        """
        catalog = self._audiences.catalogs.read()
        catalog.spec(audience)
        labels = self._labels(body)
        with self._database.read() as connection:
            numbers = repository.numbers_of(connection, labels.keys())
        known = [user for user in labels if user in numbers]
        unknown = [user for user in labels if user not in numbers]
        if not known:
            raise ListRefused(
                f"none of the {len(labels)} users is known, the first of them {unknown[0]!r}; send the ids "
                "that your events carry"
            )
        rule = catalog.definitions.rules.get(audience)
        if rule is None:
            members = self._audiences.memberships.members(audience)
            inside = {user: numbers[user] in members for user in known}
            told: dict[str, str] = {}
            drifted: list[dict[str, Any]] = []
        else:
            inside, told, drifted = self._by_rule(rule, known, numbers, now)
        wrong = [user for user in known if inside[user] is not labels[user]]
        return {
            "audience": audience,
            "as_of": now,
            "labelled": len(known),
            "unknown": {"count": len(unknown), "first": unknown[:20]},
            **scores([labels[user] for user in known], [inside[user] for user in known]),
            "wrong": [
                {
                    "user_id": user,
                    "expected": labels[user],
                    "found": inside[user],
                    "because": told.get(user, "the user is " + ("" if inside[user] else "not ") + "a member"),
                }
                for user in wrong
            ],
            "drift": {
                "thresholds": {"moderate": MODERATE, "large": LARGE, "confidence": CONFIDENCE},
                "features": drifted,
                "applies": not any(one["drift"] == "large" for one in drifted),
            },
        }

    def _labels(self, body: bytes) -> dict[str, bool]:
        labels: dict[str, bool] = {}
        wrong = []
        lines = list(lines_of(body, 2))
        if len(lines) > MAX_LABELS:
            raise ListRefused(f"{len(lines):,} labels are more than {MAX_LABELS:,}: send a sample of them")
        for line in lines:
            user, said = self._canonical(line.cells[0]), line.cells[1].lower()
            if said not in _YES | _NO:
                wrong.append(f"line {line.number}: expected is {line.cells[1]!r}; write true or false")
            elif labels.setdefault(user, said in _YES) is not (said in _YES):
                wrong.append(f"line {line.number}: {user!r} is labelled both true and false")
        if wrong:
            raise ListRefused("; ".join(wrong[:20]) + "; nothing was judged")
        if not labels:
            raise ListRefused("the file has no labels; write lines of user_id,expected")
        return labels

    def _by_rule(
        self, rule: Rule, users: Sequence[str], numbers: Mapping[str, int], now: datetime
    ) -> tuple[dict[str, bool], dict[str, str], list[dict[str, Any]]]:
        of = self._audiences.memberships.of
        people = self._population.values(users, rule.tags, now)
        inside: dict[str, bool] = {}
        told: dict[str, str] = {}
        for user, (values, tags) in zip(users, people, strict=True):
            found = trace(rule, values, tags=tags, audiences=of(user), now=now)
            inside[user] = found.truth is True
            told[user] = found.words
        others = self._others()
        names = sorted(rule.names)
        live = self._population.values(others, rule.tags, now)
        drifted = drift(
            {name: [_plain(values.get(name)) for values, _ in people] for name in names},
            {name: [_plain(values.get(name)) for values, _ in live] for name in names},
        )
        return inside, told, drifted

    def _others(self) -> list[str]:
        with self._database.read() as connection:
            everybody = [one.user_id for one in repository.population(connection)]
        users = [user for user in everybody if self._canonical(user) == user]
        if len(users) <= POPULATION:
            return users
        places = np.random.default_rng(0).choice(len(users), size=POPULATION, replace=False)
        return [users[place] for place in places]


def scores(expected: Sequence[bool], found: Sequence[bool]) -> dict[str, Any]:
    """Accuracy, precision, recall and F1 of an audience; None where nothing is divided by.

    >>> scores([True, True, False, False], [True, False, True, False])["precision"]
    0.5
    """
    pairs = list(zip(expected, found, strict=True))
    hits, misses = pairs.count((True, True)), pairs.count((True, False))
    alarms, rest = pairs.count((False, True)), pairs.count((False, False))
    return {
        "accuracy": _share(hits + rest, len(pairs)),
        "precision": _share(hits, hits + alarms),
        "recall": _share(hits, hits + misses),
        "f1": _share(2 * hits, 2 * hits + alarms + misses),
        "confusion": {
            "true_positive": hits,
            "false_positive": alarms,
            "false_negative": misses,
            "true_negative": rest,
        },
    }


def _share(part: int, of: int) -> float | None:
    return round(part / of, 6) if of else None


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, list):
        return len(value)
    return value
