"""Definitions of audiences and of tags set by rules: one YAML file, read as a whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audiences.errors import AudienceError
from audiences.rules import Rule, RuleError, Schema, parse

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]


class AudienceSpec(BaseModel):
    """A named rule; whoever it holds for is in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Name
    name: str
    rule: str


class TagSpec(BaseModel):
    """A tag that a rule puts on users each time the audiences are evaluated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tag: Name
    rule: str
    expires_after: timedelta | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    audiences: list[AudienceSpec] = Field(min_length=1)
    tags: list[TagSpec] = []


@dataclass(frozen=True, slots=True)
class Definitions:
    """Audiences and tag rules, parsed. `rules` holds those of the audiences, then those of the tags."""

    audiences: tuple[AudienceSpec, ...]
    tags: tuple[TagSpec, ...]
    rules: tuple[Rule, ...]


def read_definitions(path: Path, schema: Schema) -> Definitions:
    """Read and check `audiences.yaml`.

    Raises:
        AudienceError: the file is missing, has a wrong or unknown field, or a rule does not parse; the
            message lists every problem.
    """
    try:
        file = _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise AudienceError(f"{path}: can't be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise AudienceError(f"{path}: not YAML: {error}") from error
    except ValidationError as error:
        places = (f"{'.'.join(map(str, one['loc'])) or 'document'}: {one['msg']}" for one in error.errors())
        raise AudienceError(f"{path}: " + "; ".join(places)) from error
    problems: list[str] = []
    rules: list[Rule] = []
    named = [(audience.id, audience.rule) for audience in file.audiences]
    named += [(f"tag {tag.tag}", tag.rule) for tag in file.tags]
    for name, text in named:
        try:
            rules.append(parse(text, schema))
        except RuleError as error:
            problems.append(f"{name}: {error}")
    problems += [f"{name}: used twice" for name in _doubles([audience.id for audience in file.audiences])]
    if problems:
        raise AudienceError(f"{path}: " + "; ".join(problems))
    return Definitions(tuple(file.audiences), tuple(file.tags), tuple(rules))


def _doubles(names: list[str]) -> list[str]:
    counted: Mapping[str, int] = {name: names.count(name) for name in names}
    return [name for name, number in counted.items() if number > 1]
