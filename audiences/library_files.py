"""Reading a YAML file of a library into a document, with every problem said at its place."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from audiences.errors import AudiencesError

D = TypeVar("D", bound=BaseModel)


class Document(BaseModel):
    """A part of a library's file; fields that nobody knows are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_document(path: Path, type_: type[D], error: type[AudiencesError]) -> D:
    """Return a file as a document; a file that is not there is an empty one.

    Raises:
        AudiencesError: of the type `error`: it can't be read, is no YAML, or a field is wrong or unknown.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
        return type_.model_validate({} if content is None else content)
    except (OSError, UnicodeDecodeError) as problem:
        raise error(f"{path}: can't be read: {problem}") from problem
    except yaml.YAMLError as problem:
        raise error(f"{path}: not YAML: {problem}") from problem
    except ValidationError as problem:
        places = (f"{'.'.join(map(str, one['loc'])) or 'document'}: {one['msg']}" for one in problem.errors())
        raise error(f"{path}: " + "; ".join(places)) from problem
