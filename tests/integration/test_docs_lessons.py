"""The quickstart and the tutorials work as they stand, and print what they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.walking import walk

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    "page", [DOCS / "quickstart.md", *sorted((DOCS / "tutorials").glob("*.md"))], ids=lambda page: page.stem
)
def test_a_newcomer_gets_through(page: Path, tmp_path: Path) -> None:
    walk(page, tmp_path)
