"""What contents may speak of in one service: features, traits, accounts, properties of triggers' events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from audiences.plan.plan import Plan
from audiences.traits.models import LANGUAGE_TRAITS
from audiences.triggers.definitions import OnEvent, Triggers
from feature_repo.aggregates import ACCOUNT_PREFIX, FeatureType
from feature_repo.schema import Column, Scalar
from feature_repo.specs import Specs
from playbooks.content.names import Vocabulary

_EXAMPLES: Mapping[FeatureType, Any] = {
    "int": 3,
    "float": 2.5,
    "text": "sample",
    "bool": True,
    "time": datetime(2026, 1, 31, 12, tzinfo=UTC),
    "floats": [0.5, 0.25],
}
_OF_SCHEMA = {
    "integer": 3,
    "number": 2.5,
    "boolean": True,
    "array": ["sample"],
    "object": {"sample": "sample"},
}
_IDENTIFY = "identify"


def vocabulary_of(
    specs: Specs,
    service: str,
    account_traits: Mapping[str, Scalar],
    triggers: Triggers,
    plan: Plan,
    owned: Iterable[str],
) -> Vocabulary:
    """Return every name there is, each with an example.

    Args:
        service: the feature service that is read of one user.
        owned: traits of which the library says whose word counts.
    """
    views = specs.views.values()
    features = specs.features_of(service)
    said = {**dict.fromkeys((*owned, *LANGUAGE_TRAITS), "sample"), **_of_event(specs, plan, _IDENTIFY)}
    properties: dict[str, Any] = {}
    for one in triggers.triggers:
        if isinstance(one.spec.when, OnEvent):
            properties |= _of_event(specs, plan, one.spec.when.event)
            properties |= {name: _EXAMPLES[kind] for name, kind in one.spec.when.properties.items()}
    return Vocabulary(
        user={name: _EXAMPLES[one.type] for name, one in features.items()},
        trait=said,
        account={
            **{name: _EXAMPLES[kind] for name, kind in account_traits.items()},
            **{
                feature.name.removeprefix(ACCOUNT_PREFIX): _EXAMPLES[feature.type]
                for view in views
                if view.of_accounts
                for feature in view.features
            },
        },
        trigger=properties,
    )


def _of_event(specs: Specs, plan: Plan, event: str) -> dict[str, Any]:
    """Return the properties of an event that the plan or the library's events declare."""
    found: dict[str, Any] = {}
    planned = plan.planned.get(event)
    if planned is not None:
        for name, schema in (planned.schema.get("properties") or {}).items():
            kind = schema.get("type") if isinstance(schema, dict) else None
            found[name] = _OF_SCHEMA.get(kind, "sample") if isinstance(kind, str) else "sample"
    for name, column in specs.events.events.get(event, {}).items():
        found[name] = _of_column(column)
    return found


def _of_column(column: Column) -> Any:
    if isinstance(column, str):
        return _EXAMPLES[column]
    element = column[0]
    if isinstance(element, str):
        return [_EXAMPLES[element]]
    return [{name: _EXAMPLES[kind] for name, kind in element.items()}]
