"""VW's decision logs (dsjson): one JSON object a line, the chosen action first in `a` and `p`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from learning.errors import UnreadableLog
from learning.evaluation.log import Log
from learning.evaluation.logs.columns import Columns
from learning.evaluation.logs.rounds import ACTION, LOGGED_DIST, MOMENT, PSCORE, REWARD, ROUND, log_of

SUFFIXES = (".dsjson", ".json", ".jsonl", ".ndjson")


class _Event(msgspec.Struct, rename={"cost": "_label_cost", "probability": "_label_probability"}):
    cost: float
    probability: float
    a: list[int]
    p: list[float]
    event_id: str | None = msgspec.field(name="EventId", default=None)
    timestamp: str | None = msgspec.field(name="Timestamp", default=None)
    pdrop: float = 0.0
    skipped: bool = msgspec.field(name="_skipLearn", default=False)


class _Whole(_Event):
    c: dict[str, Any] = msgspec.field(default_factory=dict)


def read(path: Path) -> Log:
    """Return the log in a dsjson file: rewards are the costs negated, actions are numbered from 1 as in `a`.

    Lines without `_label_cost` (joined observations and the like) are passed over as VW does; so are those
    that say `_skipLearn`, and the log notes how many.

    Raises:
        UnreadableLog: too many lines are wrong, or events were dropped (`pdrop`) so that weights would lie.
    """
    return _read(path, _Event)[0]


def read_contexts(path: Path) -> tuple[Log, list[dict[str, Any]]]:
    """Return the log, and the context of each of its rounds, those that were refused among them.

    Raises:
        UnreadableLog: as `read`.
    """
    return _read(path, _Whole)


def _read(path: Path, whole: type[_Event]) -> tuple[Log, list[dict[str, Any]]]:
    contexts: list[dict[str, Any]] = []
    cells: dict[str, list[Any]] = {name: [] for name in (ACTION, REWARD, PSCORE, ROUND, MOMENT)}
    vectors: list[dict[int, float]] = []
    wrong: list[tuple[int, str]] = []
    lines: list[int] = []
    skipped = 0
    decoder = msgspec.json.Decoder(whole)
    with path.open("rb") as file:
        for number, line in enumerate(file):
            if not line.strip() or b'"_label_cost"' not in line:
                continue
            try:
                event = decoder.decode(line)
                if event.skipped:
                    skipped += 1
                    continue
                reason = _wrong(event)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                event, reason = None, f"the line is no dsjson event: {error}"
            lines.append(number)
            contexts.append(event.c if isinstance(event, _Whole) else {})
            if reason or event is None:
                wrong.append((len(vectors), reason))
                for one in cells.values():
                    one.append(None)
                vectors.append({})
                continue
            cells[ACTION].append(event.a[0] - 1)
            cells[REWARD].append(-event.cost)
            cells[PSCORE].append(event.probability)
            cells[ROUND].append(event.event_id)
            cells[MOMENT].append(event.timestamp)
            vectors.append({action - 1: p for action, p in zip(event.a, event.p, strict=True)})
    if not lines:
        raise UnreadableLog(f"{path} has no rounds: no line has a _label_cost")
    log = _log(path, cells, vectors, wrong, lines)
    if skipped:
        log = replace(log, notes=(*log.notes, f"{skipped} decisions say _skipLearn and were left out"))
    return log, contexts


def _log(
    path: Path,
    cells: dict[str, list[Any]],
    vectors: list[dict[int, float]],
    wrong: list[tuple[int, str]],
    lines: list[int],
) -> Log:
    width = 1 + max((action for one in vectors for action in one), default=0)
    dist = np.zeros((len(vectors), width))
    for row, vector in enumerate(vectors):
        for action, probability in vector.items():
            dist[row, action] = probability
        if not vector:
            dist[row, 0] = 1.0
    kept: dict[str, Any] = {**cells, LOGGED_DIST: dist}
    bad = {row for row, _ in wrong}
    for name in (ROUND, MOMENT):
        if any(one is None for row, one in enumerate(cells[name]) if row not in bad):
            del kept[name]
    columns = Columns(kept, len(vectors))
    for row, why in wrong:
        columns.refuse(row, "line", f"{lines[row] + 1}: {why}")
    log = log_of(columns, str(path))
    # Actions are numbered as the file numbers them.
    return replace(log, actions=tuple(str(int(name) + 1) for name in log.actions))


def _wrong(event: _Event) -> str:
    if len(event.a) != len(event.p) or not event.a:
        return f"{len(event.a)} actions in `a` need as many probabilities in `p`, there are {len(event.p)}"
    if min(event.a) < 1 or len(set(event.a)) != len(event.a):
        return "`a` must name different actions, numbered from 1"
    if event.pdrop:
        return f"pdrop is {event.pdrop:g}: events were dropped at random; evaluate a log that is whole"
    if abs(event.p[0] - event.probability) > 1e-6:
        return f"_label_probability {event.probability:g} is not the first of `p`, {event.p[0]:g}"
    return ""
