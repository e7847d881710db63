"""`nextplay init` makes a project that is right as it stands, for its owner only, or nothing."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from decision import init_command
from decision.cli import app
from decision.files import read_files
from decision.foresight.linting import lint_library
from decision.settings import load_settings
from playbooks.errors import LibraryError
from storage.errors import ConfigurationError


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "var" / "shop"
    run = CliRunner().invoke(app, ["init", str(folder)])
    assert run.exit_code == 0, run.output
    told = {Path(line) for line in run.output.splitlines() if line.startswith(str(folder))}
    assert told == {path for path in folder.rglob("*") if path.is_file()}
    return folder


def test_the_library_is_right_and_lint_finds_nothing(made: Path) -> None:
    files = read_files(made / "library")
    assert lint_library(files, made / "library", datetime(2025, 3, 3, 9, tzinfo=UTC)) == []
    assert [one.id for one in files.draft.playbooks] == ["come_back", "everyday"]
    with (made / "orders.csv").open() as orders:
        assert {row["event"] for row in csv.DictReader(orders)} <= files.specs.events.events.keys()


def test_its_key_is_that_of_the_service_and_for_its_owner_only(made: Path) -> None:
    admin = load_settings(data=made).admin_key
    assert admin is not None
    assert admin.get_secret_value() == (made / "key").read_text().strip()
    assert [(made / name).stat().st_mode & 0o777 for name in ("key", "settings.env")] == [0o600, 0o600]


def test_a_folder_that_is_there_stays_as_it_is(made: Path) -> None:
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    run = CliRunner().invoke(app, ["init", str(made)])
    assert isinstance(run.exception, ConfigurationError)
    assert "name a folder that is to be made" in str(run.exception)
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before


def test_what_can_t_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    run = CliRunner().invoke(app, ["init", str(tmp_path / "file" / "shop")])
    assert isinstance(run.exception, ConfigurationError)
    monkeypatch.setattr(init_command, "PROJECT", tmp_path / "gone")
    run = CliRunner().invoke(app, ["init", str(tmp_path / "shop")])
    assert isinstance(run.exception, ConfigurationError)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_field_that_is_misspelt_is_named(made: Path) -> None:
    path = made / "library" / "playbooks" / "everyday.yaml"
    path.write_text(path.read_text().replace("placement:", "placment:"))
    with pytest.raises(LibraryError, match="did you mean 'placement'"):
        read_files(made / "library")
