"""A playbook from a template: put beside what is there, which stays as it was written."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from decision.demo.run import LIBRARY
from decision.files import read_files
from decision.foresight.linting import lint_library
from delivery.plans import Plan
from delivery.simulator import simulate
from delivery.view import View
from playbooks.errors import LibraryError, UnknownTemplate
from playbooks.library.templates import files_with, names
from playbooks.lint import Severity

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(LIBRARY, tmp_path / "library"))


@pytest.mark.parametrize("name", names())
def test_every_template_makes_a_library_that_is_read(folder: Path, name: str) -> None:
    texts, _ = files_with(folder, name, "made")
    for path, text in texts.items():
        path.write_text(text)
    files = read_files(folder)
    made = {one.id: one for one in files.draft.playbooks}["made"]
    assert made.origin == "template"
    findings = lint_library(files, folder, NOON)
    wrong = [one for one in findings if "made" in one.place and one.severity is Severity.ERROR]
    assert wrong == []
    body = files.draft.body(made)
    plan = Plan.of(body, 1, replace(files.schema, audiences=True))
    for arm in body.arms:
        assert simulate(plan, arm, "ann", NOON, View())[-1].kind == "ends"


def test_what_is_there_already_stays(folder: Path) -> None:
    before = (folder / "audiences.yaml").read_text()
    texts, added = files_with(folder, "welcome", "first")
    after = texts[folder / "audiences.yaml"]
    for line in before.splitlines():
        assert line in after
    assert after.index("new_customers") < after.index("new_shopper") < after.index("tags:")
    for path, text in texts.items():
        path.write_text(text)
    again, added_again = files_with(folder, "welcome", "second")
    assert list(again) == [folder / "playbooks" / "second.yaml"]
    assert (len(added), len(added_again)) == (4, 1)


def test_an_id_that_is_taken_and_a_name_that_is_none(folder: Path) -> None:
    with pytest.raises(LibraryError, match="there is a playbook of that id already"):
        files_with(folder, "welcome", "welcome")
    with pytest.raises(UnknownTemplate, match="no template 'welcom', did you mean 'welcome'"):
        files_with(folder, "welcom", "x")


def test_a_list_that_is_no_list_of_lines_is_not_guessed_at(folder: Path) -> None:
    path = folder / "audiences.yaml"
    path.write_text("audiences: [{id: a, name: A, rule: orders_12w > 0}]\n")
    with pytest.raises(LibraryError, match="add this to it by hand"):
        files_with(folder, "welcome", "x")
