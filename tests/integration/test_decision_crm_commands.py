"""`nextplay crm` on a database at hand; secrets of webhooks from settings and files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from decision import crm_commands
from decision.demo.run import LIBRARY
from decision.errors import CrmDiffers
from decision.settings import Settings, load_settings
from decision.webhook_secrets import webhook_secrets
from storage.errors import ConfigurationError
from tests.migrated import copy_migrated

CRM = """
sources:
  - id: acme
    type: object
    objects:
      - {when: note, id: id, updated_at: at, user_id: user, event: sales_note_added, properties: {text: text}}
"""
SECRET = "whsec_c2FsZXMga25vd3MgaXQgZmlyc3Q="
NEWER = "whsec_c2FsZXMga25vd3MgaXQgc29vbmVy"
NOTES = "object,id,at,user,text\nnote,1,2026-03-02T08:00:00Z,ann,hello\nnote,2,yesterday,ann,hello\n"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a service that does not run and has heard nothing of its CRM yet."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copytree(LIBRARY, folder / "library")
    (folder / "library" / "crm.yaml").write_text(CRM)
    copy_migrated(folder / "nextplay.db")
    monkeypatch.setenv("NEXTPLAY_CLOCK", "2026-03-02T09:00:00Z")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(crm_commands.app, [str(one) for one in arguments])


def test_an_export_is_compared_with_what_is_held(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.csv"
    file.write_text(NOTES)
    result = run("reconcile", "acme", file, "--data", data)
    assert isinstance(result.exception, CrmDiffers)
    assert "missing_here\ttype=note\tid=1" in result.output
    assert "unreadable\tline=3\terror=`at` is no moment" in result.output
    assert "rows 2" in result.output
    assert '"missing_here":1' in run("reconcile", "acme", file, "--data", data, "--json").output
    file.write_text("object,id\n")
    assert run("reconcile", "acme", file, "--data", data).exit_code == 0
    assert "there are acme" in str(run("reconcile", "other", file, "--data", data).exception)


def test_nothing_waits(data: Path) -> None:
    assert run("waiting", "acme", "--data", data).output == ""
    assert run("replay", "acme", "--data", data).output == "0 taken, 0 still wait\n"


def test_secrets_come_from_settings_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secrets.json"
    file.write_text(json.dumps({"acme": [NEWER], "other": [NEWER]}))
    monkeypatch.setenv("NEXTPLAY_WEBHOOK_SECRETS", f'{{"acme": ["{SECRET}"]}}')
    monkeypatch.setenv("NEXTPLAY_WEBHOOK_SECRETS_FILE", str(file))
    settings = load_settings(data=tmp_path)
    assert webhook_secrets(settings) == {"acme": [SECRET, NEWER], "other": [NEWER]}
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    "content", ["{", '{"acme": "x"}', '{"acme": ["!secret!"]}', '{"acme": ["whsec_c2hvcnQ="]}', None]
)
def test_wrong_secrets_are_refused_and_not_shown(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "secrets.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError) as refused:
        webhook_secrets(Settings(webhook_secrets_file=file))
    assert "!secret!" not in str(refused.value)
