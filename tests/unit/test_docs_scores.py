"""The example of docs/how-to/scores.md is read as it stands."""

from __future__ import annotations

import re
from pathlib import Path

from audiences.scores.definitions import read_scores
from audiences.service import rule_schema
from feature_repo.specs import load_specs

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "scores.md"


def test_the_example_is_a_score(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    (tmp_path / "scores.yaml").write_text(block)
    specs = load_specs()
    (score,) = read_scores(tmp_path / "scores.yaml", rule_schema(specs), specs.events)
    assert score.spec.hand_over == "SQL"
    assert set(score.by_event) == {"email_opened", "page_viewed", "unsubscribed"}
