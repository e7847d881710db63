"""Reading a YAML file of a library into a document, with every problem said at its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from audiences.errors import AudiencesError
from feature_repo import yaml_documents

D = TypeVar("D", bound=BaseModel)


class Document(BaseModel):
    """A part of a library's file; fields that nobody knows are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def told(error: ValidationError) -> str:
    """Return what pydantic found, in one line: where and what."""
    return "; ".join(f"{place(one['loc'])}: {said(one)}" for one in error.errors())


def place(steps: Sequence[int | str]) -> str:
    """Return where in a document something is."""
    return ".".join(map(str, steps)) or "document"


def said(problem: ErrorDetails) -> str:
    """Return what is wrong, in our own words where a check of ours found it."""
    return problem["msg"].removeprefix("Value error, ")


def read_document(
    path: Path,
    type_: type[D],
    error: type[AudiencesError],
    *,
    required: bool = False,
    told: Callable[[ValidationError], str] = told,
) -> D:
    """Return a file as a document; a file that is not there is an empty one, unless it is `required`.

    Args:
        told: says in one line what is wrong with the fields.

    Raises:
        AudiencesError: of the type `error`: it can't be read, is no YAML, or a field is wrong or unknown.
    """
    try:
        content = yaml_documents.load(path.read_text(encoding="utf-8")) if required or path.exists() else None
        return type_.model_validate({} if content is None else content)
    except OSError as problem:
        raise error(f"{path}: can't be read: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise error(f"{path}: can't be read: {problem}; save it as UTF-8") from problem
    except yaml.YAMLError as problem:
        raise error(f"{path}: not YAML: {yaml_documents.said(problem)}") from problem
    except RecursionError as problem:
        raise error(f"{path}: not YAML that can be read: it nests too deep") from problem
    except ValidationError as problem:
        raise error(f"{path}: {told(problem)}") from problem
