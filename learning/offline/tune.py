"""Choose from a grid of specifications by what each is worth on rounds held out, and prove the choice."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import yaml
from pydantic import ValidationError

from feature_repo.yaml_documents import load, said
from learning.errors import InvalidRounds, LearningError, PolicySpecError
from learning.offline.rounds import LoggedRounds
from learning.offline.train import Judged, Trained, judge, later, trained_version
from learning.spec import PolicySpec
from learning.spreading import spread

_MOST = 1_000


class Setting(msgspec.Struct, frozen=True):
    """One point of the grid: what it sets, and what it is worth; `failed` says why it is not."""

    sets: dict[str, Any]
    judged: Judged | None
    failed: str = ""


class Tuned(msgspec.Struct, frozen=True):
    """The settings, the best first; `proof` judges the best on rounds that had no part in choosing it."""

    trained_on: int
    settings: list[Setting]
    best: dict[str, Any]
    proof: Judged


def read_grid(path: Path, spec: PolicySpec) -> list[tuple[dict[str, Any], PolicySpec]]:
    """Return the specifications of a grid: YAML, lists by the path of a field, as `learner.ridge: [0.1, 1]`.

    Raises:
        PolicySpecError: it can't be read, or a point of it is no specification; which field and why.
    """
    try:
        document = load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PolicySpecError(f"{path}: can't be read: {error}") from error
    except yaml.YAMLError as error:
        raise PolicySpecError(f"{path}: not YAML: {said(error)}") from error
    if not isinstance(document, dict) or not document:
        raise PolicySpecError(
            f"{path}: a grid is lists by the path of a field, as learner.ridge: [0.1, 1, 10]"
        )
    for name, values in document.items():
        if not isinstance(values, list) or not values:
            raise PolicySpecError(f"{path}: {name}: must be a list of at least one value")
    count = 1
    for values in document.values():
        count *= len(values)
    if count > _MOST:
        raise PolicySpecError(f"{path}: {count:,} settings are more than {_MOST:,}; leave some out")
    points = []
    for values in product(*document.values()):
        sets = dict(zip(map(str, document), values, strict=True))
        points.append((sets, _with(spec, sets, path)))
    return points


def tune(
    rounds: LoggedRounds,
    points: Sequence[tuple[dict[str, Any], PolicySpec]],
    now: datetime,
    *,
    held_out: float = 0.3,
    processes: int = 0,
) -> tuple[Tuned, Trained]:
    """Train every setting, in processes, and choose by what it is worth on rounds held out.

    The last `held_out` of the rounds are held out. The earlier half of them chooses; the later half says what
    the chosen one is worth, as the best of many looks better where it was chosen than it is.

    Raises:
        InvalidRounds: too few rounds, or no setting could be trained.
        WorkerDied: a process died, as one does that runs out of memory.
    """
    last = later(rounds, held_out)
    first, rest = rounds.only(~last), rounds.only(last)
    proof = later(rest, 0.5)
    choosing, proving = rest.only(~proof), rest.only(proof)
    specs = [spec for _, spec in points]
    results = _all(first, choosing, specs, now, processes)
    settings = [
        Setting(sets, one if isinstance(one, Judged) else None, one if isinstance(one, str) else "")
        for (sets, _), one in zip(points, results, strict=True)
    ]
    ranked = sorted(range(len(points)), key=lambda place: _rank(settings[place]))
    best = ranked[0]
    if settings[best].judged is None:
        raise InvalidRounds(f"no setting could be trained and judged; the first: {settings[best].failed}")
    version = trained_version(first, specs[best], now)
    shown = judge(version, proving, first)
    found = Tuned(len(first), [settings[place] for place in ranked], points[best][0], shown)
    return found, Trained(version, len(first), shown)


def _rank(setting: Setting) -> tuple[bool, float]:
    judged = setting.judged
    known = judged is not None and judged.value is not None
    return (not known, -judged.value if judged is not None and judged.value is not None else 0.0)


def _all(
    first: LoggedRounds, choosing: LoggedRounds, specs: Sequence[PolicySpec], now: datetime, processes: int
) -> list[Judged | str]:
    workers = min(processes or os.cpu_count() or 1, len(specs))
    if workers == 1:
        return [_judged(first, choosing, spec, now) for spec in specs]
    texts = [spec.model_dump_json(by_alias=True) for spec in specs]
    return list(spread(_one, (first, choosing, now), texts, workers))


def _one(given: tuple[LoggedRounds, LoggedRounds, datetime], spec: str) -> Judged | str:
    first, choosing, now = given
    return _judged(first, choosing, PolicySpec.model_validate_json(spec), now)


def _judged(first: LoggedRounds, choosing: LoggedRounds, spec: PolicySpec, now: datetime) -> Judged | str:
    try:
        return judge(trained_version(first, spec, now), choosing, first)
    except LearningError as error:
        return str(error)


def _with(spec: PolicySpec, sets: Mapping[str, Any], path: Path) -> PolicySpec:
    document: dict[str, Any] = spec.model_dump(by_alias=True, mode="json")
    for name, value in sets.items():
        *folders, field = name.split(".")
        place = document
        for folder in folders:
            inner = place.get(folder)
            if not isinstance(inner, dict):
                raise PolicySpecError(f"{path}: {name}: the specification has no {folder!r} with fields")
            place = inner
        place[field] = value
    try:
        return PolicySpec.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise PolicySpecError(
            f"{path}: {dict(sets)} makes no specification: {where}: {first['msg']}"
        ) from error
