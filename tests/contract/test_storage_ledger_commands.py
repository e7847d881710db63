"""`nextplay ledger …` as a person meets it."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from decision.ledger_commands import app
from storage import ledger
from storage.engine import Database
from storage.errors import NextplayError
from storage.ledger import Kind, NewFact
from storage.schema import fact_counts


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A service's folder with 40 events, the oldest 39 days old."""
    folder = tmp_path / "data"
    now = datetime.now(UTC)
    with closing(Database(f"sqlite:///{folder / 'nextplay.db'}")) as database:
        new = [
            NewFact(Kind.EVENT, f"e{day}", "seen", f"user-{day % 4}", now - timedelta(days=day), {})
            for day in range(40)
        ]
        database.write(partial(ledger.append, new=new, now=now), rows=len(new))
    return folder


def said(data: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--data", str(data)])
    assert result.exit_code == 0, result.output
    return result.output.strip()


def refused(data: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--data", str(data)])
    assert isinstance(result.exception, NextplayError)
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_counts_and_recount(data: Path) -> None:
    assert said(data, "counts") == "event\tseen\t40"
    assert said(data, "recount") == "the counters equal the facts"
    with closing(Database(f"sqlite:///{data / 'nextplay.db'}")) as database:
        wrong = update(fact_counts).values(number=fact_counts.c.number + 1)
        database.write(lambda connection: connection.execute(wrong))
    assert "40 counters are not what the facts say" in refused(data, "recount")


def test_retain(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "every kind is kept for ever" in refused(data, "retain")
    assert said(data, "retain", "--keep", "event=29") == "event\t10 taken away"
    (data / "settings.env").write_text("NEXTPLAY_HOST=::1\n")
    monkeypatch.setenv("NEXTPLAY_RETENTION", '{"event": 19, "change": null}')
    assert said(data, "retain") == "event\t10 taken away"
    assert said(data, "counts") == "event\tseen\t40"
    assert "is not KIND=DAYS" in refused(data, "retain", "--keep", "event")
    assert "there is no kind 'events'" in refused(data, "retain", "--keep", "events=3")
    monkeypatch.setenv("NEXTPLAY_RETENTION", '{"event": "long"}')
    assert "retention.event" in refused(data, "retain")


def test_export(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert said(data, "export", str(out), "--kind", "event").startswith("40 facts written in 40 files")
    assert said(data, "export", str(out)).endswith("40 were there already")
    assert len(list(out.glob("event/day=*/facts.parquet"))) == 40
    assert "nothing lies between" in refused(
        data, "export", str(out), "--since", "2026-03-02", "--until", "2026-03-01"
    )
    assert "can't write to" in refused(data, "export", str(data / "nextplay.db"))


def test_a_folder_without_a_database_stays_so(tmp_path: Path) -> None:
    assert "name the service's folder with --data" in refused(tmp_path / "none", "counts")
    assert not (tmp_path / "none").exists()
