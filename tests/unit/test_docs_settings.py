"""docs/reference/settings.md names every setting, and none that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

from decision.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"


def test_every_setting_is_described() -> None:
    named = set(re.findall(r"^\| .*?\|", PAGE.read_text(encoding="utf-8"), re.M))
    described = {name for row in named for name in re.findall(r"`NEXTPLAY_([A-Z_]+)`", row)}
    assert described == {name.upper() for name in Settings.model_fields}
