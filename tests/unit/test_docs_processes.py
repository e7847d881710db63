"""docs/how-to/processes.md: processes started as it says do all there is to do."""

from __future__ import annotations

import re
from pathlib import Path

from decision.processes import ROLES

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "processes.md"


def test_every_role_is_in_a_process_and_in_the_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    started = [roles.split(",") for roles in re.findall(r"^    nextplay \w+ --roles (\S+)$", text, re.M)]
    assert {role for roles in started for role in roles} == set(ROLES)
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, re.M)
    assert sorted(role for row in rows for role in re.findall(r"`(\w+)`", row)) == sorted(ROLES)
