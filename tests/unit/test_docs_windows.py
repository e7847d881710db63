"""The example of docs/reference/windows.md is a document that is read, and its fields are all there are."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from playbooks.windows import Window, Windows

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "windows.md").read_text(encoding="utf-8")


def test_the_example_is_read() -> None:
    found = re.search(r"```yaml\n(.*?)```", PAGE, re.S)
    assert found is not None
    document = Windows.model_validate(yaml.safe_load(found[1]))
    assert {one.outside for one in document.windows} == {"hold", "skip", "reschedule"}


def test_every_field_of_a_window_is_described() -> None:
    described = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M))
    assert described == Window.model_fields.keys() - {"id"}
