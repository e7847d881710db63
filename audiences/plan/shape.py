"""What of a schema tells how values may be brought into shape: its types and formats, place by place.

`type`, `format`, `properties`, `items`, `allOf` and references inside the document are followed. What
`anyOf`, `oneOf`, `if` and the like say is checked and brings nothing into shape: there is no telling which of
their branches a wrong value was meant for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audiences.plan.values import BY_TYPE, Convert

_HELD: Mapping[str, tuple[type, ...]] = {
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "string": (str,),
    "array": (list, tuple),
    "object": (dict,),
    "null": (type(None),),
}
# References may go round in circles.
_DEEPEST = 16


class Shape:
    """One place of a schema."""

    __slots__ = ("converts", "fields", "held", "items", "nullable")

    def __init__(self) -> None:
        self.converts: list[Convert] = []
        # Types that need no conversion; empty where any value may need one.
        self.held: frozenset[type] = frozenset()
        self.nullable = False
        self.fields: dict[str, Shape] = {}
        self.items: Shape | None = None

    def fit(self, value: Any) -> Any:
        """Return the value as the schema asks for it; the very same object where nothing changed."""
        if type(value) in self.held:
            return value
        for convert in self.converts:
            converted = convert(value)
            # The same object, so that nobody takes an event for changed that is not.
            if type(converted) is not type(value) or converted != value:
                value = converted
        if self.fields and isinstance(value, dict):
            return self._fit_fields(value)
        if self.items is not None and isinstance(value, list):
            return self._fit_items(value, self.items)
        return value

    def _fit_fields(self, value: dict[str, Any]) -> dict[str, Any]:
        fitted = value
        fields = self.fields
        for name, old in value.items():
            shape = fields.get(name)
            if shape is None or type(old) in shape.held:
                continue
            if old is None and not shape.nullable:
                # A null says that there is no value, which is said by leaving it out.
                fitted = dict(fitted) if fitted is value else fitted
                del fitted[name]
                continue
            new = shape.fit(old)
            if new is not old:
                fitted = dict(fitted) if fitted is value else fitted
                fitted[name] = new
        return fitted

    @staticmethod
    def _fit_items(value: list[Any], shape: Shape) -> list[Any]:
        if shape.held.issuperset(map(type, value)):
            return value
        fitted = [shape.fit(one) for one in value]
        changed = any(new is not old for new, old in zip(fitted, value, strict=True))
        return fitted if changed else value


def shape_of(schema: Mapping[str, Any], formats: Mapping[str, Convert]) -> Shape:
    """Return the shape of a whole document."""
    shape = Shape()
    _add(shape, schema, schema, formats, 0)
    return shape


def _add(
    shape: Shape, schema: Any, root: Mapping[str, Any], formats: Mapping[str, Convert], depth: int
) -> None:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return
    types = schema.get("type", ())
    types = [types] if isinstance(types, str) else list(types)
    shape.nullable |= not types or "null" in types
    converts = [BY_TYPE[name] for name in types if name in BY_TYPE]
    if (wanted := formats.get(str(schema.get("format")))) is not None:
        converts.append(wanted)
    shape.converts += converts
    for part in _parts(schema, root):
        _add(shape, part, root, formats, depth + 1)
    for name, part in schema.get("properties", {}).items():
        _add(shape.fields.setdefault(name, Shape()), part, root, formats, depth + 1)
    if isinstance(schema.get("items"), Mapping):
        shape.items = shape.items or Shape()
        _add(shape.items, schema["items"], root, formats, depth + 1)
    if types and wanted is None and not shape.fields and shape.items is None:
        shape.held = frozenset(held for name in types for held in _HELD.get(name, ()))
    else:
        shape.held = frozenset()


def _parts(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Sequence[Any]:
    """Return the schemas that hold beside this one."""
    parts = list(schema.get("allOf", ()))
    if isinstance(reference := schema.get("$ref"), str) and reference.startswith("#"):
        parts.append(_referred(root, reference))
    return parts


def _referred(root: Mapping[str, Any], pointer: str) -> Any:
    """Return what a pointer within the document (RFC 6901) points to, None where that is nothing."""
    found: Any = root
    for step in pointer.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
