"""Reads YAML that people write. A field given twice is refused, of which plain YAML keeps the last."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Loader(_Base):  # type: ignore[misc]
    """A safe loader that refuses fields given twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys: set[Hashable] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in keys:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the field {key.value!r} is given twice", key.start_mark
                )
            if isinstance(key, yaml.ScalarNode):
                keys.add(key.value)
        result: dict[Any, Any] = super().construct_mapping(node, deep)
        return result


def load(text: str) -> Any:
    """Return what a YAML text says.

    Raises:
        yaml.YAMLError: it is no YAML, or a field is given twice.
    """
    return yaml.load(text, Loader=Loader)  # noqa: S506 - a safe loader


def place(error: yaml.YAMLError) -> tuple[int, int]:
    """Return line and column, from 1 on, of what is wrong; 0 where that isn't known."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)


def said(error: yaml.YAMLError) -> str:
    """Return in one line what is wrong, and in which line of the text."""
    line, _ = place(error)
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    return f"line {line}: {problem}" if line else problem
