"""Rules over one event: `event.<property>`, typed as `events.yaml` or the place that asks says.

A property of another type than said counts as missing, so that one odd event breaks no rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from audiences.rules import Rule, RuleValueError, Schema, Type, compile_one, parse
from audiences.rules.values import HELD
from feature_repo.schema import Column, EventSchemas

PropertyType = Literal["text", "float", "int", "bool", "time"]

_TYPES: Mapping[str, Type] = {
    "text": Type.TEXT,
    "float": Type.NUMBER,
    "int": Type.NUMBER,
    "bool": Type.BOOL,
    "time": Type.TIMESTAMP,
}
_LISTS: Mapping[str, Type] = {"text": Type.TEXTS, "float": Type.NUMBERS, "int": Type.NUMBERS}
PREFIX = "event."


class PropertyRule:
    """A parsed rule over the properties of events of one name."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._answer = compile_one([rule])

    def holds(self, properties: Mapping[str, Any], now: datetime) -> bool:
        """Whether the rule is true of an event with these properties."""
        values = {
            name: _fitting(properties.get(name.removeprefix(PREFIX)), name, kind)
            for name, kind in self.rule.types.items()
        }
        return self._answer(values, now=now)[0]


def parse_property_rule(
    text: str, event: str, schemas: EventSchemas, said: Mapping[str, PropertyType]
) -> PropertyRule:
    """Return a rule over the properties of `event`.

    Args:
        said: types of properties that `schemas` does not name; they win over it.

    Raises:
        audiences.rules.RuleError: it is no rule, or names a property that neither knows.
    """
    columns = schemas.events.get(event, {})
    names = {PREFIX + name: kind for name, column in columns.items() if (kind := type_of(column))}
    names.update({PREFIX + name: _TYPES[kind] for name, kind in said.items()})
    return PropertyRule(parse(text, Schema(names, tags=False, audiences=False)))


def type_of(column: Column) -> Type | None:
    """Return the type of a column in rules, None for a list of what is no text or number."""
    if isinstance(column, str):
        return _TYPES[column]
    element = column[0]
    return _LISTS.get(element) if isinstance(element, str) else None


def _fitting(value: Any, name: str, kind: Type) -> Any:
    if kind is Type.TIMESTAMP and isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if kind is Type.NUMBER and isinstance(value, bool):
        return None
    try:
        HELD[kind](name, value)
    except RuleValueError:
        return None
    return value
