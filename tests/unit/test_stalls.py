"""A test that fails while the machine stands still is run again, and one that fails without it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFTEST = """
import pytest
from tests import stalls

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    stalls.run(item, nextitem)
    return True

def pytest_terminal_summary(terminalreporter):
    stalls.summarise(terminalreporter)
"""
TESTS = """
from tests import stalls

ran = {"stalled": 0, "broken": 0, "plain": 0}

def test_stalled():
    ran["stalled"] += 1
    if ran["stalled"] == 1:
        stalls._stalls.seconds += 3.0
    assert ran["stalled"] == 2

def test_broken():
    stalls._stalls.seconds += 3.0
    ran["broken"] += 1
    assert ran["broken"] > 2

def test_plain():
    ran["plain"] += 1
    assert ran["plain"] == 2

def test_how_often():
    assert ran == {"stalled": 2, "broken": 2, "plain": 1}
"""


def test_only_what_failed_during_a_stall_is_run_again(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_some.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "2 failed, 2 passed" in run.stdout, run.stdout
    assert (
        "test_stalled failed while the machine stood still for 3.0 s, and passed when it was run again"
        in (run.stdout)
    )
    assert "test_broken failed while the machine stood still for 3.0 s, and failed when it was run again" in (
        run.stdout
    )
    assert "test_plain failed while" not in run.stdout
