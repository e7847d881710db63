"""Story 11, what is doubtful: lint of a folder on the command line, and of what is live over HTTP."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from decision.demo.run import LIBRARY
from tests.acceptance.driver import Running
from tests.launching import run


def lint(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `nextplay playbooks lint`."""
    return run("playbooks", "lint", *arguments)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """The demo's library, in which the win-back never wins and starts by a trigger that is not there."""
    folder = Path(shutil.copytree(LIBRARY, tmp_path / "library"))
    plan = folder / "playbooks" / "win_back.yaml"
    plan.write_text(plan.read_text().replace("placement: outbound", "placement: outbound\ntrigger: lapsed"))
    new = folder / "playbooks" / "catch_all.yaml"
    everyone = (folder / "playbooks" / "everyone.yaml").read_text()
    new.write_text(everyone.replace("id: everyone", "id: catch_all").replace("priority: 0", "priority: 90"))
    return folder


def test_a_folder_on_the_command_line(library: Path) -> None:
    clean = lint(str(LIBRARY))
    assert (clean.returncode, clean.stdout) == (0, "nothing found\n"), clean.stderr
    run = lint(str(library))
    assert run.returncode == 1
    first, advice, *_ = run.stdout.splitlines()
    assert first.startswith("error   playbooks/win_back: trigger: there is no trigger 'lapsed'")
    assert advice == "        → define it in triggers.yaml"
    assert run.stdout.splitlines()[-1] == "1 error, 4 warnings"
    found = json.loads(lint(str(library), "--json").stdout)["findings"]
    assert {one["document"] for one in found if one["code"] == "always-outranked"} == {
        "playbooks/bargain",
        "playbooks/everyone",
        "playbooks/thank_you",
        "playbooks/welcome",
    }
    (library / "triggers.yaml").write_text("triggers: [{id: lapsed, name: Lapsed, when: {entered: lapsing}}]")
    assert lint(str(library)).returncode == 0
    assert lint(str(library), "--strict").returncode == 1


def test_what_is_live_over_http(service: Running) -> None:
    answer = service.http.get("/v1/library/lint")
    assert answer.status_code == 200, answer.text
    # Nothing but what depends on who is there: audiences may be empty, events may not have come.
    assert {one["code"] for one in answer.json()["findings"]} <= {"nobody", "goal-never-emitted"}
