"""Test users and seeds as they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from playbooks.errors import LibraryError
from playbooks.library.reading import read_insiders


def test_seeds_are_test_users(tmp_path: Path) -> None:
    assert read_insiders(tmp_path).everybody == frozenset()
    (tmp_path / "test_users.yaml").write_text("test_users: [qa]\nseeds: [{user_id: ann, languages: [de]}]\n")
    assert read_insiders(tmp_path).everybody == {"qa", "ann"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("test_users: [qa, qa]", "test_users lists qa more than once"),
        ("seeds: [{user_id: a}, {user_id: a}]", "seeds lists a more than once"),
        ("test_user: [qa]", "did you mean 'test_users'"),
        ("seeds: [{user_id: a, language: [de]}]", "line 1, column 32.*did you mean 'languages'"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "test_users.yaml").write_text(text)
    with pytest.raises(LibraryError, match=said):
        read_insiders(tmp_path)
