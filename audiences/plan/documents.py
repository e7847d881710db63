"""Reads a tracking plan: a folder of JSON Schemas, one for each event name, and `plan.yaml` beside them.

A schema is a document of JSON Schema draft 2020-12 in YAML or JSON, over the event's properties (the traits
of `identify` and `group`). Two keywords are our own: `event`, the event's name where the file's is not it,
and `mode`, `strict` or `lenient`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonschema_rs import Draft202012Validator, ValidationError
from pydantic import BaseModel, ConfigDict
from pydantic import ValidationError as WrongFields

from audiences.errors import PlanError
from audiences.plan.places import line_of
from audiences.plan.plan import Plan, Planned
from audiences.plan.shape import shape_of
from audiences.plan.values import Convert, by_format, is_country, is_phone
from feature_repo.yaml_documents import load, said

FOLDER = "tracking"
SETTINGS = "plan.yaml"
# The folder of the library may also say which machines there are (`audiences.machines`).
NOT_SCHEMAS = frozenset({SETTINGS, "machines.yaml"})
TOUCHPOINTS = Path(__file__).parent / "touchpoints"

_MODES = ("lenient", "strict")
_DRAFT = "https://json-schema.org/draft/2020-12/schema"


class PlanSettings(BaseModel):
    """What `plan.yaml` says of the plan as a whole.

    `unknown`: what becomes of tracked events that no schema is for. `mode`: of schemas that do not say one.
    `touchpoints`: whether the schemas that ship with nextplay are part of the plan; a schema of one's own
    always comes before.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    unknown: Literal["accept", "quarantine"] = "accept"
    mode: Literal["lenient", "strict"] = "lenient"
    touchpoints: bool = True


def read_plan(folder: Path | None, region: str | None = None) -> Plan:
    """Read a plan's folder; without one the plan is what ships with nextplay.

    Args:
        region: where phone numbers without a country code are from.

    Raises:
        PlanError: a file is wrong; every problem is listed with its file and line.
    """
    problems: list[str] = []
    settings = PlanSettings()
    own: list[Path] = []
    if folder is not None and folder.is_dir():
        settings = _settings(folder / SETTINGS, problems)
        own = list(_files(folder))
    formats = by_format(region)
    planned: dict[str, Planned] = {}
    places: dict[str, Path] = {}
    for path in own:
        before = len(problems)
        text, document = _read(path, problems)
        one = None if len(problems) > before else _planned(path, text, document, settings, formats, problems)
        if one is None:
            continue
        if one.event in places:
            problems.append(f"{path}: {places[one.event].name} is for {one.event!r} too: keep one of them")
        planned[one.event], places[one.event] = one, path
    if problems:
        raise PlanError("the tracking plan is wrong:\n" + "\n".join(f"  {one}" for one in problems))
    if settings.touchpoints:
        planned = {**{one.event: one for one in shipped(formats)}, **planned}
    return Plan(planned, refuses_unknown=settings.unknown == "quarantine")


def shipped(formats: Mapping[str, Convert] | None = None) -> Sequence[Planned]:
    """Return the schemas of the common touchpoints, which ship with nextplay."""
    problems: list[str] = []
    converts = formats if formats is not None else by_format(None)
    found = [_planned(*one, PlanSettings(), converts, problems) for one in _shipped_documents()]
    if problems:
        raise PlanError("; ".join(problems))
    return [one for one in found if one is not None]


@cache
def _shipped_documents() -> Sequence[tuple[Path, str, Any]]:
    """Return path, text and document of each schema that ships with nextplay: read once, for they stay."""
    texts = [(path, path.read_text("utf-8")) for path in _files(TOUCHPOINTS)]
    return [(path, text, yaml.safe_load(text)) for path, text in texts]


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.suffix in (".yaml", ".yml", ".json") and path.name not in NOT_SCHEMAS:
            yield path


def _settings(path: Path, problems: list[str]) -> PlanSettings:
    if not path.exists():
        return PlanSettings()
    text, document = _read(path, problems)
    try:
        return PlanSettings.model_validate(document or {})
    except WrongFields as error:
        for one in error.errors():
            place = [step for step in one["loc"] if isinstance(step, str | int)]
            where = ".".join(map(str, place)) or "document"
            problems.append(f"{path}, line {line_of(text, place)}: {where}: {one['msg']}")
        return PlanSettings()


def _planned(
    path: Path,
    text: str,
    document: Any,
    settings: PlanSettings,
    formats: Mapping[str, Convert],
    problems: list[str],
) -> Planned | None:
    before = len(problems)
    if not isinstance(document, dict):
        problems.append(f"{path}: a schema is an object; begin with `type: object`")
        return None
    schema = dict(document)
    event, mode = schema.pop("event", path.stem), schema.pop("mode", settings.mode)
    if not isinstance(event, str) or not event:
        problems.append(f"{path}, line {line_of(text, ['event'])}: event: this must be the event's name")
    if mode not in _MODES:
        problems.append(f"{path}, line {line_of(text, ['mode'])}: mode: {mode!r} is not strict or lenient")
    if schema.get("$schema", _DRAFT) != _DRAFT:
        problems.append(f"{path}, line {line_of(text, ['$schema'])}: $schema: only {_DRAFT} is understood")
    if len(problems) > before:
        return None
    strict = mode == "strict"
    if strict:
        schema.setdefault("unevaluatedProperties", False)
    try:
        validator = Draft202012Validator(
            schema,
            validate_formats=strict,
            formats={"phone": is_phone, "country": is_country, "address": _is_object},
            # Nothing is fetched from anywhere.
            offline=True,
        )
        return Planned(event, mode, schema, shape_of(schema, formats), validator)
    except ValidationError as error:
        place = [step for step in error.instance_path if isinstance(step, str | int)]
        where = ".".join(map(str, place)) or "document"
        problems.append(f"{path}, line {line_of(text, place)}: {where}: {error.message}: correct it")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        problems.append(f"{path}: this is no schema of JSON values: {error}")
    return None


def _read(path: Path, problems: list[str]) -> tuple[str, Any]:
    """Return a file's text and what it says; a problem is added where it can't be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path}: can't be read: {error}")
        return "", None
    try:
        return text, json.loads(text) if path.suffix == ".json" else load(text)
    except json.JSONDecodeError as error:
        problems.append(f"{path}, line {error.lineno}: not JSON: {error.msg}")
    except yaml.YAMLError as error:
        problems.append(f"{path}: not YAML: {said(error)}")
    return text, None


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)
