"""The example of docs/how-to/stages.md is read as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from audiences.service import rule_schema
from audiences.stages.definitions import read_lifecycles
from feature_repo.specs import load_specs

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "stages.md"


def test_the_example_is_a_lifecycle(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    (tmp_path / "stages.yaml").write_text(block)
    buyer, company = read_lifecycles(tmp_path / "stages.yaml", rule_schema(load_specs()))
    assert buyer.stages == ["new", "active", "sleeping", "gone"]
    assert (company.of_accounts, company.stages) == (True, ["prospect", "customer", "quiet"])
