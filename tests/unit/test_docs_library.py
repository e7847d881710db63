"""The examples of docs/reference/library.md are a library that is read, together."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from audiences.definitions import read_definitions
from audiences.service import rule_schema
from feature_repo.specs import load_specs
from learning.spec import read_spec
from playbooks.library import read_library
from playbooks.library.reading import read_approval, read_insiders

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "library.md"


def test_the_examples_are_a_library(tmp_path: Path) -> None:
    blocks = re.findall(r"## (\S+)\n+```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    names = [name for name, _ in blocks]
    assert names == [
        "audiences.yaml",
        "offers.yaml",
        "contents.yaml",
        "playbooks/*.yaml",
        "approval.yaml",
        "test_users.yaml",
        "policy.yaml",
    ]
    for name, text in blocks:
        path = tmp_path / name.replace("*", yaml.safe_load(text)["id"] if "*" in name else "")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    draft = read_library(tmp_path)
    assert [playbook.id for playbook in draft.playbooks] == ["win_back"]
    definitions = read_definitions(tmp_path / "audiences.yaml", rule_schema(load_specs()))
    assert {playbook.audience for playbook in draft.playbooks} <= {one.id for one in definitions.audiences}
    assert read_approval(tmp_path).reach == 20_000
    assert read_insiders(tmp_path).everybody == {"qa-1", "qa-2", "ann", "ben"}
    assert read_spec(tmp_path / "policy.yaml").id == "next_category"
