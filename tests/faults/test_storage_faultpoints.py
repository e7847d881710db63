"""Fault points: a process dies at the n-th passage of the one it is told, and notices none otherwise."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage import faultpoints

ROOT = Path(__file__).parents[2]
_RUN = """
from storage.faultpoints import reached
for number in range(5):
    print(number, flush=True)
    reached("writer.before_commit")
    reached("writer.committed")
"""


def run(aim: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != faultpoints.VARIABLE}
    if aim is not None:
        environment[faultpoints.VARIABLE] = aim
    return subprocess.run(
        [sys.executable, "-c", _RUN], env=environment, cwd=ROOT, text=True, capture_output=True, check=False
    )


@pytest.mark.parametrize(("aim", "printed"), [("writer.committed", 1), ("writer.committed:3", 3)])
def test_a_process_dies_at_the_nth_passage(aim: str, printed: int) -> None:
    done = run(aim)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == [str(number) for number in range(printed)]


@pytest.mark.parametrize("aim", [None, "", "learn.folded"])
def test_a_process_passes_points_it_was_not_told(aim: str | None) -> None:
    assert run(aim).returncode == 0


def test_a_point_that_does_not_exist_is_refused() -> None:
    assert "names no fault point; there are writer.before_commit" in run("writer.comitted").stderr


def test_every_point_is_reached_somewhere_and_none_else_is() -> None:
    rooms = ("audiences", "decision", "delivery", "learning", "playbooks", "storage")
    reached = {
        point
        for room in rooms
        for file in (ROOT / room).rglob("*.py")
        for point in re.findall(r"\breached\(\"([^\"]+)\"\)", file.read_text())
    }
    assert reached == set(faultpoints.POINTS)
