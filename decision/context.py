"""What a request tells of its moment, by the names and kinds that the policy gives them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from audiences.rules import Schema, Type
from decision.errors import WrongContext
from learning.context import Told
from playbooks.suggesting import closest

Value = float | bool | str | None
Context = Mapping[str, Value]

# Under which rules ask for what a request tells.
_CONTEXT = "context."
_TYPES: Mapping[str, Type] = {"number": Type.NUMBER, "text": Type.TEXT, "condition": Type.BOOL}


def with_told(schema: Schema, told: Mapping[str, Told]) -> Schema:
    """Return what constraints may speak of: these names, and `context.<name>` of what requests tell."""
    names = {f"{_CONTEXT}{name}": _type_of(kind) for name, kind in told.items()}
    options = {f"{_CONTEXT}{name}": kind for name, kind in told.items() if isinstance(kind, list)}
    return replace(schema, names={**schema.names, **names}, options={**schema.options, **options})


def told_with(values: Mapping[str, Any], context: Context) -> Mapping[str, Any]:
    """Return a user's features with what the request tells, as the policy and as rules name it."""
    if not context:
        return values
    return {**values, **context, **{f"{_CONTEXT}{name}": told for name, told in context.items()}}


def as_told(context: Context, known: Mapping[str, Told]) -> Context:
    """Return a context as policy and rules read it: what is a number as one, true as 1.

    Raises:
        WrongContext: a name that the policy does not know, or a value of another kind than it says.
    """
    return {name: _read(name, value, known) for name, value in context.items()} if context else context


def _read(name: str, value: Value, known: Mapping[str, Told]) -> Value:
    kind = known.get(name)
    if kind is None:
        raise WrongContext(f"context: the policy reads no {name!r}{closest(name, known)}")
    if value is None:
        return None
    if kind == "number":
        return _number(name, value)
    if kind == "condition":
        if isinstance(value, bool):
            return value
        raise WrongContext(f"context.{name}: this must be true, false or null, not {value!r}")
    if not isinstance(value, str):
        raise WrongContext(f"context.{name}: this must be text or null, not {_as_json(value)}")
    if isinstance(kind, list) and value not in kind:
        raise WrongContext(f"context.{name}: the policy knows no {value!r} there{closest(value, kind)}")
    if "\x00" in value:
        raise WrongContext(f"context.{name}: a text can't have the character U+0000")
    return value


def _number(name: str, value: float | bool | str) -> float:
    if isinstance(value, str):
        raise WrongContext(f"context.{name}: this must be a number, true, false or null, not {value!r}")
    if not math.isfinite(value):
        raise WrongContext(f"context.{name}: this must be finite or null, not {value}")
    return float(value)


def _as_json(value: float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def _type_of(kind: Told) -> Type:
    return Type.TEXT if isinstance(kind, list) else _TYPES[kind]
