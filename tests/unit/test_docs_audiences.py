"""The example of docs/how-to/audiences.md is read as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from audiences.definitions import read_definitions
from audiences.service import rule_schema
from feature_repo.specs import load_specs

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "audiences.md"


def test_the_example_is_read(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    (tmp_path / "audiences.yaml").write_text(example)
    found = read_definitions(tmp_path / "audiences.yaml", rule_schema(load_specs()))
    assert {one.kind for one in found.audiences} == {"rule", "list", "sets"}
