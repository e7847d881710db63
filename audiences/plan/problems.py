"""Says what of an event does not fit its schema: the path of each value, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from jsonschema_rs import ValidationError

# More would be read by nobody.
_SAID = 3
_LONGEST = 60
_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "text",
}


def said(errors: Iterable[ValidationError], root: str) -> str:
    """Return problems as one sentence each; `root` is what paths begin with, for example `properties`."""
    found = [_one(error, root) for error in errors]
    more = f" and {len(found) - _SAID} more" if len(found) > _SAID else ""
    return "; ".join(found[:_SAID]) + more


def _one(error: ValidationError, root: str) -> str:
    path = _path(root, error.instance_path)
    name, details = error.kind.name, error.kind.as_dict()
    if name == "required":
        return f"{path}.{details['property']} is missing"
    if name in ("additionalProperties", "unevaluatedProperties"):
        unexpected = ", ".join(f"{path}.{one}" for one in details["unexpected"][:_SAID])
        return f"{unexpected}: the plan names no such property"
    value = shown(error.instance)
    if name == "type":
        wanted = " or ".join(_TYPES.get(one, one) for one in sorted(details["types"]))
        return f"{path}: {value} is not {wanted}"
    if name == "enum":
        return f"{path}: {value} is not one of {', '.join(map(shown, details['options']))}"
    if name == "format":
        return f"{path}: {value} is no {details['format']}"
    return f"{path}: {_short(error.message)}"


def _path(root: str, steps: Iterable[str | int]) -> str:
    return root + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


def shown(value: Any) -> str:
    """Return a value as it is shown to people: shortened."""
    return _short(repr(value) if isinstance(value, str) else msgspec.json.encode(value).decode())


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
