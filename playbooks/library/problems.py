"""What is wrong with a document of a library, and where: file, line and column, field."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
import yaml
from pydantic import BaseModel, ValidationError

from playbooks.errors import LibraryError
from playbooks.suggesting import closest

Location = Sequence[int | str]


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong. `line` and `column` count from 1, 0 where there is no text to point into."""

    file: str
    message: str
    field: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}: " if self.line else ""
        field = f"{self.field}: " if self.field else ""
        return f"{self.file}: {place}{field}{self.message}"


def refuse(problems: Sequence[Problem], what: str = "the library was not read") -> None:
    """Raise LibraryError with every problem, if there is one."""
    if problems:
        told = "\n".join(f"  {problem}" for problem in problems)
        raise LibraryError(f"{what}:\n{told}", problems)


def found_in(
    error: ValidationError, model: Any, file: str, text: str = "", at: Location = ()
) -> Iterator[Problem]:
    """Yield what pydantic found, in the words of a library.

    Args:
        model: what the document was read as, a model or a list of some.
        text: of the file, to point into.
        at: where in the file the document stands.
    """
    for one in error.errors(include_url=False, include_input=False):
        loc = one["loc"]
        message = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            message = _unknown(str(loc[-1]), _fields_at(model, loc[:-1]))
        # What a document says of several of its places at once is told at each.
        for inner, said in one.get("ctx", {}).get("places", [((), message)]):
            yield placed(file, said, [*at, *loc, *inner], text)


def placed(file: str, message: str, loc: Location, text: str = "") -> Problem:
    """Return a problem at a place of a document, with its line and column where there is a text."""
    line, column = _place(text, loc) if text else (0, 0)
    return Problem(file, message, ".".join(map(str, loc)) or "document", line, column)


def _unknown(name: str, fields: Iterable[str]) -> str:
    return f"there is no such field{closest(name, fields)}"


def _fields_at(model: Any, loc: Location) -> set[str]:
    """Return the names of the fields that a document has at a place of pydantic's."""
    found: list[Any] = [model]
    for step in loc:
        found = [inner for outer in found for inner in _inside(outer, step)]
    models = [part for one in found for part in _parts(one) if _is_model(part)]
    return {field.alias or name for model in models for name, field in model.model_fields.items()}


def _inside(outer: Any, step: int | str) -> Iterator[Any]:
    for part in _parts(outer):
        if _is_model(part):
            if step in part.model_fields:
                yield part.model_fields[str(step)].annotation
            # The name of a union's branch, or the value of its discriminator.
            elif step == part.__name__ or any(
                step in get_args(field.annotation) for field in part.model_fields.values()
            ):
                yield part
        elif arguments := get_args(part):
            # Of a tuple of any length the last one is an ellipsis.
            yield arguments[0] if arguments[-1] is Ellipsis else arguments[-1]


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield the branches of a union, without what annotates them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _parts(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for branch in get_args(annotation):
            yield from _parts(branch)
    else:
        yield annotation


def _is_model(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)


def _place(text: str, loc: Location) -> tuple[int, int]:
    """Return line and column of the deepest part of a place that the text has."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for step in loc:
        inner = None
        if isinstance(node, yaml.MappingNode):
            inner = next((value for key, value in node.value if key.value == str(step)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            inner = node.value[step]
        # A step that is not in the text names a branch of a union, or a field that is missing.
        node = inner or node
    return (node.start_mark.line + 1, node.start_mark.column + 1) if node is not None else (0, 0)


def grouped(problems: Iterable[Problem]) -> Mapping[str, list[Problem]]:
    """Return problems by file."""
    result: dict[str, list[Problem]] = {}
    for problem in problems:
        result.setdefault(problem.file, []).append(problem)
    return result
