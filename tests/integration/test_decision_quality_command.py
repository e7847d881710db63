"""`nextplay quality` and `nextplay quarantine` as a person meets them, on a database at hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from typer.testing import CliRunner

from audiences.events import Event
from audiences.identity.service import IdentityService
from decision.cli import app
from decision.demo.run import LIBRARY
from decision.files import read_files
from decision.incoming import Incoming
from decision.settings import Settings
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.errors import SchemaMismatch
from storage.migrate import upgrade
from tests.conftest import START


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A service's folder with a strict plan, one order that fits and one that does not."""
    shutil.copytree(LIBRARY, tmp_path / "library")
    (tmp_path / "library" / "tracking").mkdir()
    (tmp_path / "library" / "tracking" / "order_completed.yaml").write_text(
        "mode: strict\ntype: object\nrequired: [value]\nproperties: {value: {type: number}}\n"
    )
    settings = Settings(data=tmp_path, clock=START)
    database = Database(settings.url)
    identity = IdentityService(database)
    incoming = Incoming(database, SimulatedClock(START), settings, read_files(tmp_path / "library"), identity)
    orders: list[dict[str, object]] = [{"value": 5.0}, {"value": "much"}]
    incoming.intake.take(
        [
            Event(f"e{number}", "ann", "order_completed", order, START, START, source="shop")
            for number, order in enumerate(orders)
        ]
    )
    database.close()
    return tmp_path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_what_came_in_and_what_was_set_aside(data: Path) -> None:
    listed = run("quarantine", "list", "--data", str(data))
    assert "e1" in listed
    assert "e0" not in listed
    assert "value" in run("quarantine", "show", "e1", "--data", str(data))


def test_figures_that_are_zero_everywhere_take_no_room(data: Path) -> None:
    printed = run("quality", "--data", str(data), "--hours", "100000")
    assert "shop" in printed
    assert "quarantined" in printed
    assert "duplicate" not in printed


def test_a_database_behind_the_code_is_said(tmp_path: Path) -> None:
    shutil.copytree(LIBRARY, tmp_path / "library")
    engine = create_engine(f"sqlite:///{tmp_path / 'nextplay.db'}")
    with engine.connect() as connection:
        upgrade(connection, "0005")
    engine.dispose()
    with pytest.raises(SchemaMismatch, match="run `nextplay migrate`"):
        CliRunner().invoke(app, ["quality", "--data", str(tmp_path)], catch_exceptions=False)
