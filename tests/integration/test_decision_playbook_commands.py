"""`nextplay playbooks` on folders and on a database at hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

import playbooks
from decision.demo.run import LIBRARY
from decision.playbook_commands import app
from playbooks.errors import LibraryError, MoveRefused, SecondPersonNeeded
from storage.errors import ConfigurationError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A library folder that somebody edits."""
    return Path(shutil.copytree(LIBRARY, tmp_path / "edited"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def done(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def said(*arguments: object) -> Any:
    return json.loads(done(*arguments, "--json"))


def edit(path: Path, **fields: Any) -> None:
    document = yaml.safe_load(path.read_text()) | fields
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def test_validate_tells_every_problem_with_its_place(folder: Path) -> None:
    assert done("validate", folder) == "the library is right: 5 playbooks with 200 variants\n"
    edit(folder / "playbooks" / "bargain.yaml", weight=0)
    warned = run("validate", folder)
    assert warned.exit_code == 0
    assert "warning unreachable-variant playbooks/bargain: weight: with weight 0" in warned.output
    assert len(said("validate", folder)["warnings"]) == 1
    (folder / "playbooks" / "welcome.yaml").write_text("id: welcome\nname: [x\n")
    edit(folder / "playbooks" / "bargain.yaml", prioritty=3)
    edit(
        folder / "playbooks" / "everyone.yaml",
        variants=[{"group": "categori", "channel": "mailbox", "content": "offer_notice"}],
    )
    result = run("validate", folder)
    assert result.exit_code == 1
    assert "welcome.yaml: line 3, column 1: not YAML: did not find expected ',' or ']'" in result.output
    assert "prioritty: there is no such field, did you mean 'priority'?" in result.output
    assert "variants.0.group: no offer has the group 'categori', did you mean 'category'?" in result.output
    problems = json.loads(run("validate", folder, "--json").output)["problems"]
    assert {Path(one["file"]).stem for one in problems} == {"welcome", "bargain", "everyone"}


def test_validate_looks_at_what_goes_with_the_playbooks(folder: Path, tmp_path: Path) -> None:
    edit(folder / "playbooks" / "welcome.yaml", audience="new_shoper")
    result = run("validate", folder)
    assert result.exit_code == 1
    assert "no audience 'new_shoper', did you mean 'new_shopper'?" in result.output
    assert "there is no folder" in run("validate", tmp_path / "nowhere").output


def test_import_is_compared_published_and_exported(data: Path, folder: Path, tmp_path: Path) -> None:
    first = said("import", folder, "--publish", "--data", data, "--by", "ann")
    assert len(first["live"]) == 5
    assert done("diff", folder, "--data", data) == "nothing differs\n"
    edit(folder / "playbooks" / "welcome.yaml", priority=40)
    (folder / "playbooks" / "bargain.yaml").unlink()
    lines = done("diff", folder, "--data", data).splitlines()
    assert lines == ["bargain: only in the library", "welcome: priority: 30 → 40"]
    again = done("import", folder, "--data", data, "--by", "ann")
    assert again == "waiting: welcome@2\nunchanged: 3\n"
    assert "welcome@1\tlive" in done("list", "--data", data)
    assert done("diff", "welcome", "--from", "1", "--to", "2", "--data", data) == "priority: 30 → 40\n"
    assert done("publish", "welcome", "--data", data, "--by", "ben") == "welcome@2 is live (by ben)\n"
    exported = tmp_path / "exported"
    done("export", exported, "--data", data)
    assert sorted(path.stem for path in (exported / "playbooks").iterdir()) == [
        "bargain",
        "everyone",
        "thank_you",
        "welcome",
        "win_back",
    ]
    assert done("diff", exported, "--data", data) == "nothing differs\n"
    assert said("import", exported, "--data", data)["unchanged"] == 5
    assert isinstance(run("export", exported, "--data", data).exception, ConfigurationError)


def test_an_import_that_is_half_wrong_changes_nothing(data: Path, folder: Path) -> None:
    done("import", folder, "--publish", "--data", data)
    before = done("list", "--data", data)
    edit(folder / "playbooks" / "welcome.yaml", priority=40)
    edit(folder / "playbooks" / "bargain.yaml", placement="home")
    result = run("import", folder, "--publish", "--data", data)
    assert isinstance(result.exception, LibraryError)
    assert "playbooks/bargain: placement: the policy next_category serves outbound" in str(result.exception)
    assert done("list", "--data", data) == before


def test_windows_are_checked_compared_kept_and_given_out(data: Path, folder: Path, tmp_path: Path) -> None:
    windows = folder / "windows.yaml"
    windows.write_text('windows: [{id: day, quiet: ["21:00-08:00"]}]\nrules: [{window: dya}]\n')
    edit(folder / "playbooks" / "welcome.yaml", window="daz")
    refused = run("validate", folder).output
    assert "rules.0: there is no window 'dya', did you mean 'day'?" in refused
    windows.write_text(
        'windows: [{id: day, quiet: ["21:00-08:00"]}]\nrules: [{window: day, channels: [mailbx]}]\n'
    )
    refused = run("validate", folder).output
    assert "window: there is no window 'daz', did you mean 'day'?" in refused
    edit(folder / "playbooks" / "welcome.yaml", window="day")
    assert (
        "rules.0.channels: there is no channel 'mailbx', did you mean 'mailbox'?"
        in run("validate", folder).output
    )
    windows.write_text('windows: [{id: day, quiet: ["21:00-08:00"]}]\nrules: [{window: day}]\n')
    done("validate", folder)
    assert "windows.yaml: window day: added" in done("diff", folder, "--data", data)
    done("import", folder, "--publish", "--data", data)
    assert done("diff", folder, "--data", data) == "nothing differs\n"
    windows.write_text('windows: [{id: day, quiet: ["22:00-08:00"]}]\nrules: [{window: day}]\n')
    assert done("diff", folder, "--data", data) == (
        "windows.yaml: window day: quiet 21:00-08:00 → 22:00-08:00\n"
    )
    # A playbook names it: it can't go.
    windows.write_text("{}\n")
    kept = run("import", folder, "--data", data)
    assert isinstance(kept.exception, LibraryError)
    assert "there is no window 'day'" in str(kept.exception)
    # Without the file what holds goes on to hold.
    windows.unlink()
    done("import", folder, "--data", data)
    done("export", tmp_path / "out", "--data", data)
    assert yaml.safe_load((tmp_path / "out" / "windows.yaml").read_text()) == {
        "windows": [{"id": "day", "quiet": ["21:00-08:00"]}],
        "rules": [{"window": "day"}],
    }


def test_pauses_and_approvals(data: Path, folder: Path) -> None:
    (folder / "approval.yaml").write_text("reach: 10\n")
    waiting = done("import", folder, "--publish", "--data", data, "--by", "ann")
    assert (
        "in review: welcome@1; a second person has to approve it: reach: the audience new_shopper" in waiting
    )
    shown = done("show", "welcome", "--data", data)
    assert "welcome@1 is in review (by ann)" in shown
    assert "is not known yet, above the 10 that one person may reach alone" in shown
    assert isinstance(run("approve", "welcome", "--data", data, "--by", "ann").exception, SecondPersonNeeded)
    assert isinstance(run("publish", "welcome", "--data", data, "--by", "ann").exception, MoveRefused)
    done("approve", "welcome", "--data", data, "--by", "ben")
    done("publish", "welcome", "--data", data, "--by", "ann")
    paused = done("pause", "welcome", "--why", "complaints", "--data", data, "--by", "ann")
    assert paused == "welcome@1 is paused (by ann, approved by ben): complaints\n"
    assert "welcome@1\tpaused" in done("list", "--state", "paused", "--data", data)
    assert done("resume", "welcome", "--data", data, "--by", "ann").startswith("welcome@1 is live")
    assert done("retire", "welcome", "--data", data, "--by", "ann").startswith("welcome@1 is retired")


def test_a_new_playbook_from_a_template(folder: Path) -> None:
    added = done("new", "first_coupon", "--template", "welcome", "--library", folder)
    assert [line.rpartition(": ")[2] for line in added.splitlines()] == [
        "the playbook",
        "welcome_coupon",
        "welcome_coupon",
        "new_customers",
    ]
    assert "6 playbooks with 203 variants" in done("validate", folder)
    before = {path: path.read_bytes() for path in folder.rglob("*.yaml")}
    edit(folder / "policy.yaml", placements=["home"])
    before[folder / "policy.yaml"] = (folder / "policy.yaml").read_bytes()
    failed = run("new", "second_coupon", "--template", "welcome", "--library", folder)
    assert "nothing was added, because with it" in str(failed.exception)
    assert {path: path.read_bytes() for path in folder.rglob("*.yaml")} == before


def test_schemas_and_templates_are_listed() -> None:
    assert json.loads(done("schema", "playbook"))["title"] == "Playbook"
    assert isinstance(run("schema", "flow").exception, ConfigurationError)
    listed = [line.split("\t") for line in done("templates").splitlines()]
    shipped = Path(playbooks.__file__).parent / "templates"
    assert [name for name, _ in listed] == sorted(file.stem for file in shipped.glob("*.yaml"))
    assert "welcome" in dict(listed)
    assert all(about for _, about in listed)
