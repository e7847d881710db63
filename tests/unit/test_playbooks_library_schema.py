"""The published JSON Schemas: equal to the models, and right about the libraries that are shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from decision.demo.run import LIBRARY
from playbooks.library.schema import FOLDER, SCHEMAS, schema_of, text_of
from playbooks.library.templates import FOLDER as TEMPLATES
from playbooks.library.templates import names, read_template


def validator(kind: str) -> Any:
    return jsonschema_rs.Draft202012Validator(schema_of(SCHEMAS[kind]), validate_formats=True)


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
def test_a_schema_says_what_the_model_says(kind: str) -> None:
    """If this fails: python -c "from playbooks.library.schema import write_schemas; write_schemas()"."""
    assert (FOLDER / f"{kind}.schema.json").read_text(encoding="utf-8") == text_of(SCHEMAS[kind])


def test_there_is_no_schema_of_anything_else() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(f"{kind}.schema.json" for kind in SCHEMAS)


@pytest.mark.parametrize("path", sorted(LIBRARY.rglob("*.yaml")), ids=lambda path: path.stem)
def test_the_demos_files_are_valid(path: Path) -> None:
    kind = "playbook" if path.parent.name == "playbooks" else path.stem
    if kind in SCHEMAS:
        assert not list(validator(kind).iter_errors(yaml.safe_load(path.read_text())))


@pytest.mark.parametrize("name", names())
def test_templates_are_valid(name: str) -> None:
    written = yaml.safe_load((TEMPLATES / f"{name}.yaml").read_text())
    assert not list(validator("playbook").iter_errors(written["playbook"]))
    for kind in ("offers", "contents"):
        assert not list(validator(kind).iter_errors(written.get(kind, [])))
    assert read_template(name).playbook.id == name


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("playbook", {"id": "x", "name": "x", "colour": "red"}),
        ("offers", [{"id": "x", "name": "x", "value": "five"}]),
        ("approval", {"reach": -1}),
    ],
)
def test_what_is_wrong_is_not_valid(kind: str, wrong: Any) -> None:
    assert list(validator(kind).iter_errors(wrong))
