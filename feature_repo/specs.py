"""Reads the repository's YAML documents, checks them against each other, and says what is wrong and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from feature_repo.aggregates import (
    ANY_EVENT,
    ANY_EVENT_FUNCTIONS,
    COLUMN_TYPES,
    FILLS_ARRAYS,
    USER_COLUMN,
    AggregatesDocument,
    FeatureSpec,
    Measure,
    ViewSpec,
    Where,
    resolve_view,
    result_type,
)
from feature_repo.errors import SpecError, UnknownService
from feature_repo.schema import Column, EventSchemas, Name, Scalar
from feature_repo.yaml_documents import load, said

HERE = Path(__file__).parent
EVENTS, AGGREGATES, VOCABULARIES = HERE / "events.yaml", HERE / "aggregates.yaml", HERE / "vocabularies.yaml"

# Python types of the values that a `where` may compare a column with; a time is written as ISO 8601 text.
COMPARABLE: dict[Scalar, tuple[type, ...]] = {
    "text": (str,),
    "float": (int, float),
    "int": (int, float),
    "bool": (bool,),
    "time": (str,),
}

Model = TypeVar("Model", bound=BaseModel)


class VocabulariesDocument(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    vocabularies: dict[Name, list[str] | Path]


@dataclass(frozen=True, slots=True)
class Specs:
    """Everything the repository is generated from, checked.

    `views` by name, `services` (name → view names), `vocabularies` (name → its words in order).
    Feature names are unique over all views, so a name alone addresses a feature.
    """

    events: EventSchemas
    views: Mapping[str, ViewSpec]
    services: Mapping[str, tuple[str, ...]]
    vocabularies: Mapping[str, tuple[str, ...]]

    def views_of(self, service: str) -> list[ViewSpec]:
        """Views of a feature service. Raises UnknownService."""
        if service not in self.services:
            known = ", ".join(sorted(self.services))
            raise UnknownService(f"no feature service '{service}'; declared are: {known}")
        return [self.views[name] for name in self.services[service]]

    def features_of(self, service: str) -> dict[str, FeatureSpec]:
        """Features of a service by name, in order. Raises UnknownService."""
        return {feature.name: feature for view in self.views_of(service) for feature in view.features}


def load_specs(
    events: Path = EVENTS,
    aggregates: Path = AGGREGATES,
    vocabularies: Path | Mapping[str, Sequence[str]] = VOCABULARIES,
) -> Specs:
    """Read and check the documents; `vocabularies` is a YAML file or the words themselves.

    A file may name another for a long list: `arm_category: arms.yaml`, relative to itself. Raises SpecError.
    """
    schemas = _parse(EventSchemas, events)
    document = _parse(AggregatesDocument, aggregates)
    words = _words(vocabularies)
    views: dict[str, ViewSpec] = {}
    owner: dict[str, str] = {}
    for name, view in document.views.items():
        if view.entity not in document.entities:
            raise SpecError(
                f"{aggregates}: views.{name}.entity: unknown entity '{view.entity}'; "
                f"declared are: {', '.join(document.entities)}"
            )
        resolved = resolve_view(name, view, document.entities[view.entity])
        where = f"{aggregates}: views.{name}"
        checked = [_check_feature(feature, resolved, schemas, words, where) for feature in resolved.features]
        for feature in checked:
            if feature.name in owner:
                raise SpecError(
                    f"{aggregates}: views.{name}: feature '{feature.name}' exists in view "
                    f"'{owner[feature.name]}' already; names are unique over all views"
                )
            owner[feature.name] = name
        views[name] = resolved._replace(features=tuple(checked))
    for service, names in document.services.items():
        for view_name in names:
            if view_name not in views:
                raise SpecError(f"{aggregates}: services.{service}: unknown view '{view_name}'")
    services = {service: tuple(names) for service, names in document.services.items()}
    return Specs(events=schemas, views=views, services=services, vocabularies=words)


def specs_in(folder: Path) -> Specs:
    """The specs of a folder: its events.yaml, aggregates.yaml and vocabularies.yaml, where they are there.

    For those that are not the ones of this package count. Raises SpecError.
    """
    own = [folder / shipped.name for shipped in (EVENTS, AGGREGATES, VOCABULARIES)]
    events, aggregates, vocabularies = (
        path if path.exists() else shipped
        for path, shipped in zip(own, (EVENTS, AGGREGATES, VOCABULARIES), strict=True)
    )
    try:
        return load_specs(events, aggregates, vocabularies)
    except SpecError as error:
        missing = [path for path in own if not path.exists()]
        if aggregates == AGGREGATES and len(missing) < len(own):
            raise SpecError(
                f"{error}\n  that is the aggregates.yaml of the package, which goes with its own events and "
                f"vocabularies: put one that goes with yours at {folder / AGGREGATES.name}"
            ) from error
        raise


def _parse(model: type[Model], path: Path) -> Model:
    try:
        return model.model_validate(load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SpecError(f"{path}: can't be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise SpecError(f"{path}: not YAML: {said(error)}") from error
    except ValidationError as error:
        lines = [
            f"{path}: {'.'.join(str(part) for part in item['loc']) or '(top)'}: {item['msg']}"
            for item in error.errors()
        ]
        raise SpecError("\n".join(lines)) from error


def _words(vocabularies: Path | Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    entries: Mapping[str, Any] = vocabularies if isinstance(vocabularies, Mapping) else {}
    where = "vocabularies"
    if isinstance(vocabularies, Path):
        where = str(vocabularies)
        entries = _parse(VocabulariesDocument, vocabularies).vocabularies
        for name, entry in entries.items():
            if isinstance(entry, Path):
                nested = _parse(VocabulariesDocument, vocabularies.parent / entry).vocabularies
                if not isinstance(nested.get(name), list):
                    raise SpecError(f"{entry}: holds no list `vocabularies: {{{name}: […]}}`")
                entries = {**entries, name: nested[name]}
    for name, words in entries.items():
        if not words or len(set(words)) != len(words):
            raise SpecError(f"{where}: {name}: a vocabulary is a list of different words, at least one")
    return {name: tuple(words) for name, words in entries.items()}


def _check_feature(
    feature: FeatureSpec,
    view: ViewSpec,
    schemas: EventSchemas,
    words: Mapping[str, tuple[str, ...]],
    where: str,
) -> FeatureSpec:
    where = f"{where}.{feature.name}"
    fields = _fields(feature, schemas, where)
    if view.of_accounts and feature.source.each is None:
        fields = {**fields, USER_COLUMN: "text"}
    for measure in feature.measures:
        _check_measure(measure, feature, view, fields, where)
    if feature.by is not None:
        if feature.by.vocabulary not in words:
            given = ", ".join(words) or "none"
            raise SpecError(f"{where}: unknown vocabulary '{feature.by.vocabulary}'; given are: {given}")
        if fields.get(feature.by.column) != "text":
            raise SpecError(f"{where}: `by` needs a text column, which '{feature.by.column}' is not")
    elif view.only is not None and feature.measures[0].function in ("last", "last_size"):
        raise SpecError(f"{where}: '{feature.measures[0].function}' is a value of one user")
    return feature._replace(type=result_type(feature, fields))


def _check_where(condition: Where, column: Column, where: str) -> None:
    if not isinstance(column, str):
        raise SpecError(f"{where}: `where` can't compare the list column '{condition.column}'")
    values = condition.value if isinstance(condition.value, tuple) else [condition.value]
    for value in values:
        if type(value) not in COMPARABLE[column]:
            raise SpecError(
                f"{where}: `where` compares column '{condition.column}' ({column}) with {value!r}, "
                "which is of another type"
            )
        if column == "time" and not _is_time(value):
            raise SpecError(
                f"{where}: `where` compares column '{condition.column}' with {value!r}, which is no time: "
                "write it like 2025-01-31T08:00:00Z"
            )


def _is_time(value: object) -> bool:
    try:
        datetime.fromisoformat(str(value))
    except ValueError:
        return False
    return True


def _fields(feature: FeatureSpec, schemas: EventSchemas, where: str) -> dict[str, Column]:
    event, each = feature.source
    if event == ANY_EVENT:
        return {}
    if event not in schemas.events:
        raise SpecError(
            f"{where}: unknown event '{event}'; events with a history are: {', '.join(schemas.events)}"
        )
    if each is not None and isinstance(schemas.events[event].get(each, "text"), str):
        raise SpecError(f"{where}: `each: {each}` is not a list column of event '{event}'")
    return schemas.fields_of(event, each)


def _check_measure(
    measure: Measure, feature: FeatureSpec, view: ViewSpec, fields: Mapping[str, Column], where: str
) -> None:
    if feature.source.event == ANY_EVENT:
        users = view.of_accounts and measure.function == "distinct"
        if measure.where or not (users or measure.function in ANY_EVENT_FUNCTIONS):
            known = ", ".join(sorted(ANY_EVENT_FUNCTIONS))
            raise SpecError(f"{where}: over any event only {known} can be asked")
    if measure.function == "count_events" and feature.source.each is None:
        raise SpecError(f"{where}: 'count_events' goes with `each`; over events say 'count'")
    for column in [measure.column, *(condition.column for condition in measure.where)]:
        if column is not None and column not in fields:
            raise SpecError(f"{where}: unknown column '{column}'; there are: {', '.join(fields)}")
    for condition in measure.where:
        _check_where(condition, fields[condition.column], where)
    if measure.column is not None:
        kind = fields[measure.column] if isinstance(fields[measure.column], str) else "list"
        if kind not in COLUMN_TYPES[measure.function]:
            raise SpecError(f"{where}: '{measure.function}' can't take column '{measure.column}' ({kind})")
    if measure.function == "share_of_users" and view.only is None:
        raise SpecError(f"{where}: 'share_of_users' is a value of an entity with `only` one row")
    if feature.by is not None and (measure.function not in FILLS_ARRAYS or feature.is_ratio):
        raise SpecError(f"{where}: with `by` use one of {', '.join(sorted(FILLS_ARRAYS))}")
    if feature.by is not None and measure.function == "weeks_since_last" and measure.cap is None:
        raise SpecError(f"{where}: with `by`, 'weeks_since_last' needs `cap`, for an array has no nulls")
