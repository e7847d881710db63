"""The commands of docs/how-to/rehearse.md run as they stand, and what it says of the answer is so."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from pyroaring import BitMap
from sqlalchemy import Connection
from typer.testing import CliRunner

from audiences import repository as users_repository
from audiences.selection import repository as selection_repository
from audiences.selection.changes import Change
from audiences.selection.repository import State
from decision.asking import at_hand
from decision.cli import app
from decision.demo.run import LIBRARY
from decision.files import DECIDE, read_specs
from decision.foresight.api import RehearseBody
from decision.foresight.rehearsing import Wanted
from decision.foresight.standing_by import foresight_at_hand
from feature_repo.store import FeatureRepository
from playbooks.library import read_library
from playbooks.library.templates import files_with, names
from playbooks.rehearsal.calendar import Calendar
from playbooks.rehearsal.report import Rehearsed
from storage.engine import Database
from tests.migrated import copy_migrated
from tests.publishing import publish

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "rehearse.md"
# A port where nobody listens, also beside a service on its own.
TEXT = PAGE.read_text(encoding="utf-8").replace(":8321", ":9")
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
USERS = 30


@pytest.fixture
def templates() -> Sequence[str]:
    """Names of the templates that the library has playbooks from."""
    return ()


@pytest.fixture
def folder(templates: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A service that does not run: the demo's library, users, and who is new among them."""
    data = tmp_path / "var" / "mine"
    shutil.copytree(LIBRARY, data / "library")
    for name in templates:
        for path, text in files_with(data / "library", name, f"from_{name}")[0].items():
            path.write_text(text)
    copy_migrated(data / "nextplay.db")
    names = [f"u{number}" for number in range(USERS)]
    database = Database(f"sqlite:///{data / 'nextplay.db'}")

    def fill(connection: Connection) -> None:
        users_repository.add_users(connection, [(name, NOW) for name in names])
        selection_repository.number_users(connection, names)
        members = BitMap(selection_repository.numbers_of(connection, names).values())
        nothing = Change(BitMap(), BitMap())
        selection_repository.stage(connection, "new_shopper", "r", members, nothing, quiet=False)
        selection_repository.make_live(connection, [State("new_shopper", "r", 1, "", NOW, USERS)])
        publish(connection, read_library(data / "library"), NOW)

    database.write(fill)
    database.close()
    features = FeatureRepository(data / "features", read_specs(data / "library"), online=(DECIDE,))
    features.apply()
    features.close()
    monkeypatch.chdir(tmp_path)
    return data


def test_the_commands_run_as_they_stand(folder: Path) -> None:
    before = (folder / "nextplay.db").read_bytes()
    answers = []
    for command in "".join(re.findall(r"```sh\n(.*?)```", TEXT, re.S)).splitlines():
        program, *arguments = shlex.split(command)
        assert program == "nextplay"
        result = CliRunner().invoke(app, [*arguments, *(["--key", "np_x"] if "--url" in arguments else [])])
        if "--url" in arguments:
            # Nobody listens: it is the command that is tried.
            assert "no service answers" in str(result.exception)
            continue
        assert result.exit_code == 0, (command, result.output, result.exception)
        answers.append(result.output)
    text, as_json, calendar, days = answers
    assert "2026" in calendar
    assert f"by {USERS} of {USERS} users" in calendar
    assert "starves: welcome, it is considered in no decision" in calendar
    week = msgspec.convert(json.loads(days), Calendar)
    assert (week.ends - week.begins, week.sampled, week.channels) == (timedelta(days=7), USERS, [])
    assert Path("calendar.png").read_bytes().startswith(b"\x89PNG")
    found = msgspec.convert(json.loads(as_json), Rehearsed)
    assert (found.audience.users, found.left, found.stopped) == (USERS, USERS, [])
    # Nothing was computed of anybody.
    assert found.unknown.expected == USERS
    assert f"audience new_shopper         {USERS} (as of 2026-03-02 09:00 UTC)" in text
    assert "nothing was sent" in text
    assert (folder / "nextplay.db").read_bytes() == before


@pytest.mark.parametrize("templates", [names()], ids=["all"])
def test_every_template_can_be_rehearsed(folder: Path, templates: Sequence[str]) -> None:
    with at_hand(folder) as (settings, database, clock), foresight_at_hand(settings, database, clock) as here:
        for name in templates:
            wanted = RehearseBody().model_dump()
            found = here.rehearsals.rehearse(Wanted(playbook=f"from_{name}", **wanted))
            assert (found.playbook, found.state) == (f"from_{name}", "live")
            inside = found.audience.users
            assert found.left + found.elsewhere + sum(one.users for one in found.stopped) == inside, name
            assert {one.arm for one in found.arms} or not inside, name


def test_a_folder_without_features_is_told_so(folder: Path) -> None:
    shutil.rmtree(folder / "features")
    result = CliRunner().invoke(app, ["playbooks", "rehearse", "welcome", "--data", "var/mine"])
    assert "start the service once" in str(result.exception)
    assert not (folder / "features").exists()


def test_two_things_to_rehearse_are_refused(folder: Path) -> None:
    result = CliRunner().invoke(app, ["playbooks", "rehearse", "welcome", "--draft", "--version", "1"])
    assert "give one of them" in str(result.exception)


def test_the_tables_have_what_the_answers_have() -> None:
    before, after = TEXT.split("## The coming days")
    assert _named(after) == set(Calendar.__struct_fields__)
    told, given = _named(before), set(Rehearsed.__struct_fields__)
    assert told <= given
    assert given - told == {"playbook", "version", "state", "placement", "at", "policy", "seed", "sampled"}
    (body,) = re.findall(r"```json\n(.*?)```", TEXT, re.S)
    assert RehearseBody.model_validate_json(body).draft


def _named(text: str) -> set[str]:
    """The fields that the first column of a table names."""
    rows = re.findall(r"^\| (`.*?) \|", text, re.M)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}
