"""A field that is given twice in any file of the library is refused: nobody knows which one was meant."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from decision.cli import app
from decision.init_command import PROJECT

# A line of each file, and what stands before it a second time.
FILES = {
    "aggregates.yaml": ("    ttl_days: 400\n", "    ttl_days: 35\n", "ttl_days"),
    "audiences.yaml": ("audiences:\n", "audiences: {}\n", "audiences"),
    "events.yaml": ("events:\n", "events: {}\n", "events"),
    "policy.yaml": ("placements:", "placements: [elsewhere]\n", "placements"),
    "playbooks/everyday.yaml": ("placement:", "placement: elsewhere\n", "placement"),
    "tracking/order_completed.yaml": ("type: object\n", "type: text\n", "type"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_field_given_twice_is_refused(name: str, tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "library", tmp_path / "library")
    file = tmp_path / "library" / name
    line, before, field = FILES[name]
    text = file.read_text()
    assert f"\n{line}" in f"\n{text}"
    file.write_text(f"\n{text}".replace(f"\n{line}", f"\n{before}{line}", 1).lstrip("\n"))
    result = CliRunner().invoke(app, ["doctor", "--data", str(tmp_path)])
    said = f"{result.output}{result.exception}"
    assert result.exit_code == 1, said
    assert f"the field {field!r} is given twice" in said
    assert file.name in said
