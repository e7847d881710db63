"""The example of docs/reference/constraints.md is read, and every kind is told of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import yaml
from pydantic import TypeAdapter

from playbooks.constraints.checking import wrong_constraints
from playbooks.constraints.documents import KINDS, Constraint, Scope

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "constraints.md"


def test_the_example_is_read_and_all_kinds_and_fields_are_told() -> None:
    text = PAGE.read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    read = TypeAdapter(list[Constraint]).validate_python(yaml.safe_load(example))
    assert list(wrong_constraints(read)) == []
    models = [get_args(one)[0] for one in get_args(get_args(Constraint)[0])]
    fields = {name for model in models for name in model.model_fields} | set(Scope.model_fields)
    told = set(re.findall(r"`(\w+)[`:]", text))
    assert set(KINDS) <= told
    assert fields - {"id", "for_"} <= told | {"kind"}
