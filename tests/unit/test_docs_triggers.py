"""The example of docs/how-to/triggers.md is read as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from audiences.service import SERVICE
from audiences.triggers.definitions import Known, read_triggers
from feature_repo.specs import load_specs

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "triggers.md"


def test_the_examples_are_triggers(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    (tmp_path / "triggers.yaml").write_text(block)
    specs = load_specs()
    known = Known(
        features={name: one.type for name, one in specs.features_of(SERVICE).items()},
        audiences=["buyers"],
        grades={"lead": ["SQL"]},
        stages={"customer": ["lapsing"]},
    )
    assert len(read_triggers(tmp_path / "triggers.yaml", specs.events, known).triggers) == 8
