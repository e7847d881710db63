"""Rounds by columns: what the columns mean, and what can't be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiences.rules.source import closest
from learning.errors import UnreadableLog
from learning.evaluation.log import UNDECLARED, Log, check_share, reward_range
from learning.evaluation.logs.columns import Columns
from learning.evaluation.rounds import FloatArray

ACTION, REWARD, PSCORE = "action", "reward", "pscore"
ACTION_DIST, ESTIMATED, LOGGED_DIST = "action_dist", "estimated_rewards", "logged_dist"
ROUND, USER, MOMENT = "round_id", "user_id", "occurred_at"
CONTEXT, GUARD = "context.", "guard."
REQUIRED = (ACTION, REWARD, PSCORE)
OPTIONAL = (ACTION_DIST, ESTIMATED, LOGGED_DIST, ROUND, USER, MOMENT)
# What sums of probabilities that were written with few digits are off by.
_SUM = 1e-4
# Where this share of contexts is unlike all others they differ by round, and equal rows are copies.
_DISTINCT = 0.9
# As long as no more than half of the log is taken for copies: a log that was written twice.
_LEFT = 0.5


@dataclass(slots=True)
class _Actions:
    names: tuple[str, ...]
    index: NDArray[np.intp]


def log_of(columns: Columns, name: str) -> Log:
    """Return the log in these columns, rows that can't be left out and named.

    Raises:
        UnreadableLog: a column is missing or misspelt, there are no rounds, or too many rows are wrong.
    """
    _check_names(columns, name)
    if columns.rows == 0:
        raise UnreadableLog(f"{name} has no rounds")
    rewards, propensities = columns.numbers(REWARD), columns.numbers(PSCORE)
    columns.refuse_where(propensities <= 0, PSCORE, "a propensity must be above 0, not {}", propensities)
    columns.refuse_where(propensities > 1, PSCORE, "a propensity is at most 1, not {}", propensities)
    tables = {key: columns.lists(key) for key in (ACTION_DIST, ESTIMATED, LOGGED_DIST) if key in columns}
    for key in (ACTION_DIST, LOGGED_DIST):
        if key in tables:
            check_distributions(columns, key, tables[key])
    actions = _actions(columns, tables, name)
    if LOGGED_DIST in tables:
        _check_propensities(columns, propensities, tables[LOGGED_DIST], actions)
    context_names = [one for one in columns.names if one.startswith(CONTEXT)]
    context = context_of(columns, context_names)
    moments = _moments(columns) if MOMENT in columns else None
    cells = [rewards, propensities, actions.index.astype(np.float64)]
    if moments is not None:
        # Who comes at another time is no copy; a moment that can't be read is the same for all.
        cells.append(moments.astype(np.int64).astype(np.float64))
    _check_copies(columns, cells, context)
    guards = {one.removeprefix(GUARD): columns.numbers(one) for one in columns.names if one.startswith(GUARD)}
    users = columns.texts(USER) if USER in columns else None
    good = columns.good()
    refused = sorted(columns.wrong.values(), key=lambda one: one.row)
    check_share(refused, columns.rows, name)
    low, high = reward_range(rewards[good])
    notes = []
    if not low < high:
        low, high = low - 1, high + 1
    elif (low, high) != (0.0, 1.0):
        notes.append(f"{UNDECLARED}: the largest in the log, {high:g}, was taken (--rewards)")
    return Log(
        actions=actions.names,
        action=actions.index[good],
        rewards=rewards[good],
        propensities=propensities[good],
        action_dist=_part(tables.get(ACTION_DIST), good),
        estimated=_part(tables.get(ESTIMATED), good),
        logged_dist=_part(tables.get(LOGGED_DIST), good),
        context=_part(context, good),
        guards={name: values[good] for name, values in guards.items()},
        owners=None if users is None else np.unique(np.array(users)[good], return_inverse=True)[1],
        moments=None if moments is None else moments[good],
        low=low,
        high=high,
        refused=tuple(refused),
        notes=tuple(notes),
    )


def _check_names(columns: Columns, name: str) -> None:
    known = (*REQUIRED, *OPTIONAL)
    for one in columns.names:
        if one in known or one.startswith((CONTEXT, GUARD)):
            continue
        if meant := closest(one, [key for key in known if key not in columns]):
            raise UnreadableLog(f"{name} has a column {one!r}: {meant}")
    if missing := [one for one in REQUIRED if one not in columns]:
        raise UnreadableLog(
            f"{name} has no column {', '.join(missing)}; a log needs {', '.join(REQUIRED)}, it has "
            f"{', '.join(columns.names[:20]) or 'no columns'}"
        )


def check_distributions(columns: Columns, name: str, table: FloatArray) -> None:
    """Refuse rows that are no probability distributions."""
    negative, sums = (table < 0).any(axis=1), table.sum(axis=1)
    columns.refuse_where(negative, name, "a probability is below 0")
    columns.refuse_where(np.abs(sums - 1) > _SUM, name, "it sums to {} instead of 1", np.round(sums, 6))


def _check_propensities(
    columns: Columns, propensities: FloatArray, logged: FloatArray, actions: _Actions
) -> None:
    """Refuse rows whose propensity is not what the logged vector gives the action."""
    promised = logged[np.arange(len(logged)), actions.index]
    off = np.abs(np.nan_to_num(propensities) - promised) > _SUM
    columns.refuse_where(off, PSCORE, "logged_dist gives the action {}", np.round(promised, 6))


def _actions(columns: Columns, tables: dict[str, FloatArray], name: str) -> _Actions:
    widths = {key: table.shape[1] for key, table in tables.items()}
    if len(set(widths.values())) > 1:
        told = ", ".join(f"{key} {width}" for key, width in widths.items())
        raise UnreadableLog(f"{name}: lists are of different lengths: {told}; each has one number an action")
    if not widths:
        texts = columns.texts(ACTION)
        names = sorted({one for one in texts if one}, key=_natural)
        places = {one: index for index, one in enumerate(names)}
        return _Actions(tuple(names), np.array([places.get(one, 0) for one in texts], dtype=np.intp))
    width = next(iter(widths.values()))
    numbers = columns.numbers(ACTION)
    whole = np.nan_to_num(numbers, nan=-1.0)
    outside = (whole < 0) | (whole >= width) | (whole != np.floor(whole))
    columns.refuse_where(
        outside,
        ACTION,
        f"an action must be one of 0 to {width - 1}, the places in {next(iter(widths))}, not {{}}",
        numbers,
    )
    return _Actions(tuple(map(str, range(width))), np.where(outside, 0, whole).astype(np.intp))


def context_of(columns: Columns, names: list[str]) -> FloatArray | None:
    """Return the context as numbers: those of each column or its lists, or a column for each of few texts."""
    parts = []
    for name in names:
        if columns.listed(name):
            parts.append(columns.lists(name))
            continue
        texts = columns.categories(name)
        if texts is None:
            parts.append(columns.numbers(name)[:, None])
        else:
            kinds = sorted(set(texts))
            parts.append(np.array([[text == kind for kind in kinds[1:]] for text in texts], dtype=np.float64))
    return np.hstack(parts) if parts else None


def rounds_of(columns: Columns, log: Log) -> NDArray[np.bool_]:
    """Return which rows of the columns that a log was read from are its rounds: those not refused."""
    good = np.ones(columns.rows, dtype=np.bool_)
    good[[one.row - 1 for one in log.refused]] = False
    return good


def contexts_of(columns: Columns, log: Log) -> dict[str, list[Any]]:
    """Return the context of a log's rounds by name, as numbers, lists of numbers or texts."""
    good = rounds_of(columns, log)
    found: dict[str, list[Any]] = {}
    for name in columns.names:
        if not name.startswith(CONTEXT):
            continue
        if columns.listed(name):
            values: Any = columns.lists(name)
        else:
            texts = columns.categories(name)
            values = columns.numbers(name) if texts is None else np.array(texts, dtype=object)
        found[name.removeprefix(CONTEXT)] = values[good].tolist()
    return found


def _check_copies(columns: Columns, cells: list[FloatArray], context: FloatArray | None) -> None:
    if ROUND in columns:
        seen: dict[str, int] = {}
        for row, one in enumerate(columns.texts(ROUND)):
            if one and seen.setdefault(one, row) != row:
                columns.refuse(row, ROUND, f"it is a copy of row {seen[one] + 1}: both are {one!r}")
        return
    if context is None or context.shape[1] == 0:
        return
    _, first = np.unique(context, axis=0, return_index=True)
    whole = np.column_stack([*cells, context])
    _, firsts, places = np.unique(whole, axis=0, return_index=True, return_inverse=True)
    copies = firsts[places.ravel()] != np.arange(len(whole))
    # Where contexts repeat in what is left, or little is left, equal rounds are no surprise.
    left = int((~copies).sum())
    if len(first) >= _DISTINCT * left and left >= _LEFT * len(whole):
        for row in np.flatnonzero(copies).tolist():
            original = int(firsts[places.ravel()[row]])
            columns.refuse(row, CONTEXT + "*", f"it is a copy of row {original + 1}")


def _moments(columns: Columns) -> NDArray[np.datetime64]:
    found = np.full(columns.rows, np.datetime64("NaT"), dtype="datetime64[us]")
    for row, text in enumerate(columns.texts(MOMENT)):
        try:
            # NumPy has no zones: what is written in UTC loses its mark.
            found[row] = np.datetime64(text.removesuffix("Z").removesuffix("+00:00").replace(" ", "T"), "us")
        except ValueError:
            columns.refuse(row, MOMENT, f"{text!r} is not a moment in UTC, as 2026-03-02T10:00:00Z is")
    return found


def _part(table: FloatArray | None, good: NDArray[np.bool_]) -> FloatArray | None:
    return None if table is None else table[good]


def _natural(text: str) -> tuple[int, float, str]:
    """Order numbers as numbers, before other names."""
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text
