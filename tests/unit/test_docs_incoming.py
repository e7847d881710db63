"""The examples of docs/reference/incoming.md are files that are read, together."""

from __future__ import annotations

import re
from pathlib import Path

from audiences.crm.definitions import owners_in, read_crm
from audiences.forms.definitions import read_forms
from audiences.traits.definitions import read_account_traits, read_owners

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "incoming.md"


def test_the_examples_are_read(tmp_path: Path) -> None:
    blocks = re.findall(r"## (\S+)\n+```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert [name for name, _ in blocks] == ["forms.yaml", "crm.yaml", "traits.yaml"]
    for name, text in blocks:
        (tmp_path / name).write_text(text)
    assert list(read_forms(tmp_path / "forms.yaml")) == ["white_paper"]
    sources = read_crm(tmp_path / "crm.yaml")
    owners = read_owners(tmp_path / "traits.yaml", owners_in(tmp_path / "crm.yaml", sources))
    assert read_account_traits(tmp_path / "traits.yaml", ()) == {"tier": "text", "renews_at": "time"}
    assert owners == {"deal_stage": "crm.acme", "plan": "product"}
