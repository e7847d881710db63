"""`nextplay users`: who is one person, joined and taken apart on the command line."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from audiences.events import Claim, Event
from audiences.identity.service import IdentityService
from audiences.intake.intake import Intake
from decision.user_commands import app
from storage.engine import Database
from tests.conftest import START


def test_users_are_shown_merged_and_split(tmp_path: Path, sqlite_url: str) -> None:
    database = Database(sqlite_url)
    email = Claim("email", "Ann@example.com", verified=True)
    Intake(database, identities=IdentityService(database)).take(
        [
            Event("1", "ann", "page", {}, START, START, anonymous_id="x", claims=(email,)),
            Event("2", "bob", "page", {}, START, START),
        ]
    )
    database.close()

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, [*words, "--data", str(tmp_path)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    assert "bob and ann are one person" in run("merge", "bob", "email:ann@example.com", "--reason", "seen")
    shown = run("show", "anonymous:x")
    assert shown.startswith("user\tann\n")
    assert "email\tann@example.com\tverified\tann" in shown
    assert "bob = ann\tby merge\tseen" in shown
    assert "1 joins taken back" in run("split", "bob", "--reason", "two people")
    assert "bob" not in run("show", "ann")
