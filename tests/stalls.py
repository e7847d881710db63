"""Tells when the machine stood still: what a test waited for in vain meanwhile says nothing of the code.

A virtual machine may be stopped for half a minute and go on. A test that fails while that happens is run once
more, and the run says so. A test that fails without it has failed.
"""

from __future__ import annotations

import threading
import time

import pytest
from _pytest.runner import runtestprotocol

_LOOK_SECONDS = 0.25
# A busy machine lets a thread wait for tenths of a second, and a long call into C for one.
_STALL_SECONDS = 2.0
_AGAIN = "run again after a stall of seconds"


class Stalls:
    """A thread that sleeps a little again and again, and how long it overslept in all."""

    def __init__(self) -> None:
        self.seconds = 0.0
        threading.Thread(target=self._look, name="stalls", daemon=True).start()

    def _look(self) -> None:
        last = time.monotonic()
        while True:
            time.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            if now - last > _STALL_SECONDS:
                self.seconds += now - last
            last = now


_stalls = Stalls()


def run(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Run a test, once more if it failed while the machine stood still, and report it."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    before = _stalls.seconds
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    stalled = _stalls.seconds - before
    if stalled and any(report.failed for report in reports):
        first = next(report for report in reports if report.failed)
        item._initrequest()  # type: ignore[attr-defined]
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        for report in reports:
            said = f"the machine stood still for {stalled:.1f} s:\n{first.longreprtext}"
            report.sections.append(("failed before", said))
            report.user_properties.append((_AGAIN, f"{stalled:.1f}"))
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)


def summarise(terminal: pytest.TerminalReporter) -> None:
    """Say which tests were run twice."""
    for outcome in ("passed", "failed", "error"):
        for report in terminal.stats.get(outcome, []):
            for name, seconds in report.user_properties:
                if name == _AGAIN and report.when == "call":
                    terminal.write_line(
                        f"{report.nodeid} failed while the machine stood still for {seconds} s, "
                        f"and {outcome} when it was run again"
                    )
