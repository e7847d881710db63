"""Rules over an event and the arm that was chosen: what counts as success, what a flow waits for.

`event.<property>` are the event's properties as `events.yaml` types them (see `know_events`), of events that
nextplay makes itself as they are (`OWN`); `arm.<attribute>` the attributes of the offer, all text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from audiences.properties import type_of
from audiences.rules import Rule, Schema, Type, parse
from feature_repo.schema import Column
from feature_repo.specs import load_specs
from playbooks.models import Arm


def parse_where(where: str, event: str, attributes: Iterable[str]) -> Rule:
    """Return a rule over the properties of `event` and these attributes of an arm.

    Raises:
        audiences.rules.RuleError: it is no rule, or names a property or attribute that does not exist.
    """
    return _parse(where, event, frozenset(attributes))


def matches(rule: Rule, properties: Mapping[str, Any], arm: Arm) -> bool:
    """Say whether an event with these properties counts for this arm."""
    values = {f"event.{name}": value for name, value in properties.items()}
    values.update({f"arm.{name}": value for name, value in arm.attributes.items()})
    return rule.matches({name: values.get(name) for name in rule.names})


def numbers_of(event: str) -> list[str]:
    """Return the properties of an event that are numbers."""
    return [name for name, column in _event_columns().get(event, {}).items() if column in ("float", "int")]


@lru_cache(maxsize=1024)
def _parse(where: str, event: str, attributes: frozenset[str]) -> Rule:
    columns = _event_columns().get(event) or OWN.get(event, {})
    names = {f"event.{name}": type_ for name, column in columns.items() if (type_ := type_of(column))}
    names.update({f"arm.{name}": Type.TEXT for name in attributes})
    return parse(where, Schema(names, tags=False, audiences=False))


# What tasks for people come to, as events of their users.
TASK_DONE, TASK_ESCALATED = "task_done", "task_escalated"
_OF_TASK: Mapping[str, Column] = dict.fromkeys(("task", "playbook", "task_id", "decision_id"), "text")
OWN: Mapping[str, Mapping[str, Column]] = {
    TASK_DONE: {**_OF_TASK, "result": "text"},
    TASK_ESCALATED: {**_OF_TASK, "level": "int"},
}


class _Events:
    """Typed properties by event name; one library is served by a process, so it has them once."""

    columns: Mapping[str, Mapping[str, Column]] | None = None


def know_events(columns: Mapping[str, Mapping[str, Column]]) -> None:
    """Let rules speak of these events from now on, instead of those that the package itself declares."""
    _Events.columns = columns
    _parse.cache_clear()


def _event_columns() -> Mapping[str, Mapping[str, Column]]:
    if _Events.columns is None:
        _Events.columns = load_specs().events.events
    return _Events.columns
