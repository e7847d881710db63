"""The quickstart and the tutorials work as they stand, and print what they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.walking import same, walk

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    "page", [DOCS / "quickstart.md", *sorted((DOCS / "tutorials").glob("*.md"))], ids=lambda page: page.stem
)
def test_a_newcomer_gets_through(page: Path, tmp_path: Path) -> None:
    walk(page, tmp_path)


@pytest.mark.parametrize(
    ("shown", "is_it"),
    [
        ("", True),
        ('{"a": 1, …}', True),
        ('{…"b":\n 2…}', True),
        ("…", True),
        ('{"a": 1}', False),
        ('{"a": 2, …}', False),
        ('{"a": 1, … "a": 1, …}', False),
        ('{"a": 1, "b"…"b": 2}', False),
    ],
)
def test_what_is_shown_is_compared_with_what_came(shown: str, is_it: bool) -> None:
    assert same(shown, '{"a":1,"b":2}\n') is is_it
