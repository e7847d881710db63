"""The JSON Schemas of library files, made from the models that read them.

They are kept as files in playbooks/schemas/, for editors and for checks elsewhere; a test holds both equal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from playbooks.constraints.documents import Constraint
from playbooks.content.documents import Content
from playbooks.insiders import Insiders
from playbooks.library.approval import Approval
from playbooks.models import Playbook
from playbooks.offers import Offer
from playbooks.protection import Protection
from playbooks.windows import Windows

FOLDER = Path(__file__).parents[1] / "schemas"
SCHEMAS: Mapping[str, TypeAdapter[Any]] = {
    "playbook": TypeAdapter(Playbook),
    "offers": TypeAdapter(list[Offer]),
    "contents": TypeAdapter(list[Content]),
    "constraints": TypeAdapter(list[Constraint]),
    "approval": TypeAdapter(Approval),
    "test_users": TypeAdapter(Insiders),
    "protection": TypeAdapter(Protection),
    "windows": TypeAdapter(Windows),
}


def schema_of(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a kind of file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **adapter.json_schema()}


def write_schemas(folder: Path = FOLDER) -> None:
    """Write the schema of every kind of file into a folder, as `<kind>.schema.json`."""
    folder.mkdir(exist_ok=True)
    for name, adapter in SCHEMAS.items():
        (folder / f"{name}.schema.json").write_text(text_of(adapter), encoding="utf-8")


def text_of(adapter: TypeAdapter[Any]) -> str:
    """Return a schema as its file says it."""
    return json.dumps(schema_of(adapter), indent=2, ensure_ascii=False) + "\n"
