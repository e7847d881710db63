"""`nextplay import` into a database at hand: progress, rejects with their lines, and the same again."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from decision import import_commands
from decision.errors import RowsRefused
from storage import ledger
from storage.engine import Database
from storage.errors import ConfigurationError, DatabaseInUse, NextplayError
from storage.ledger import Kind

HEAD = "user_id,purpose,channel,state,at\n"
GOOD = "user-{0},marketing,email,granted,2026-02-20T09:00:00Z\n"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(import_commands.app, [str(one) for one in arguments])


def refused(result: Result, kind: type[NextplayError]) -> str:
    assert isinstance(result.exception, kind), result
    return str(result.exception)


def consents_in(data: Path) -> int:
    database = Database(f"sqlite:///{data / 'nextplay.db'}", create=False)
    with database.read() as connection:
        counted = ledger.counts(connection).get(Kind.CONSENT, {})
    database.close()
    return sum(counted.values())


def test_a_file_is_imported_once(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "consents.csv"
    file.write_text(HEAD + "".join(GOOD.format(number) for number in range(450)))
    assert "450 recorded, 0 were there already, 0 refused" in run("consents", file, "--data", data).output
    assert "0 recorded, 450 were there already" in run("consents", file, "--data", data).output
    assert consents_in(data) == 450
    assert not list(tmp_path.glob("*.rejects.*"))


def test_refused_rows_are_written_with_their_lines(data: Path, tmp_path: Path) -> None:
    file, rejects = tmp_path / "consents.csv", tmp_path / "consents.csv.rejects.ndjson"
    bad = "eve,marketing,fax,granted,2026-02-20T09:00:00Z\n"
    file.write_bytes((HEAD + GOOD.format(1) + bad).encode() + b"\xff\n" + GOOD.format(2).encode())
    result = run("consents", file, "--data", data)
    assert "2 recorded, 0 were there already, 2 refused" in result.output
    assert str(rejects) in refused(result, RowsRefused)
    rows = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [(row["line"], row["values"].get("user_id")) for row in rows] == [(3, "eve"), (4, None)]
    assert "must be one of any, email" in rows[0]["error"]
    assert "not UTF-8" in rows[1]["error"]
    file.write_text(HEAD + GOOD.format(3))
    assert run("consents", file, "--data", data).exit_code == 0
    assert not rejects.exists()


def test_a_moment_for_rows_without_one(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "list.ndjson"
    file.write_text('{"address": "ann@example.com", "reason": "bounced"}\n')
    for expected in ("1 recorded", "0 recorded"):
        result = run("suppressions", file, "--data", data, "--at", "2026-01-01T00:00:00Z")
        assert expected in result.output
    assert (data / "address.key").stat().st_mode & 0o777 == 0o600


def test_where_it_is_imported_to_must_be_said_right(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "consents.csv"
    file.write_text(HEAD)
    assert "there is no database" in refused(run("consents", file, "--data", tmp_path), ConfigurationError)
    wrong = run("consents", file, "--data", data, "--url", "http://127.0.0.1:1")
    assert "give one of them" in refused(wrong, ConfigurationError)
    owner = Database(f"sqlite:///{data / 'nextplay.db'}", create=False)
    try:
        assert "with --url" in refused(run("consents", file, "--data", data), DatabaseInUse)
    finally:
        owner.close()
    (data / "address.key").write_text("not a key\n")
    assert "give back the file" in refused(run("consents", file, "--data", data), ConfigurationError)
