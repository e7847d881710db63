"""Checks of the machine: Python, packages, the data folder, disk, clock, zones, the learner's process."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from decision.observe.findings import Finding, Subject, fail, ok, warn

_OLDEST, _TOO_NEW = (3, 11), (3, 13)
_LOCK = Path(__file__).parents[2] / "requirements" / "use.lock"
_PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?==(?P<version>[^ ;\\]+)(?P<marker> *;.*)?")
_SHOWN = 5
_GB = 1 << 30
# Below the first, a busy service is full within the hour; below the second SQLite may fail at any time.
_LITTLE_ROOM, _NO_ROOM = 2 * _GB, 200 << 20
# Nobody has run this before it was written.
_NEVER_BEFORE = datetime(2025, 1, 1, tzinfo=UTC)
_FAR_AHEAD = datetime(2100, 1, 1, tzinfo=UTC)
_ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Chatham")
_CHILD_SECONDS = 60


def python(_subject: Subject) -> Finding:
    """The interpreter is one that all packages have been built for."""
    said = f"Python {sys.version.split()[0]}"
    if _OLDEST <= sys.version_info[:2] < _TOO_NEW:
        return ok(said)
    return fail(f"{said} can't run nextplay", "install Python 3.11 or 3.12, and nextplay with it")


def packages(_subject: Subject) -> Finding:
    """The installed packages are those that were tested together."""
    if not _LOCK.exists():
        return ok("installed without its lock; `pip check` says whether the packages fit together")
    optional = {_plain(one) for one in requires("nextplay") or [] if "extra ==" in one}
    pinned: dict[str, set[str]] = {}
    for name, wanted, conditional in _locked(_LOCK.read_text()):
        pinned.setdefault(name, set()).add(wanted)
        if conditional:
            optional.add(name)
    missing, different = [], []
    for name, versions in pinned.items():
        try:
            installed = version(name)
        except PackageNotFoundError:
            if name not in optional:
                missing.append(name)
            continue
        if installed not in versions:
            different.append(f"{name} {installed} instead of {' or '.join(sorted(versions))}")
    if missing:
        return fail(f"missing: {_some(missing)}", f"install what {_LOCK.name} names: `make demo` does")
    if different:
        return warn(
            f"not as tested: {_some(different)}", f"install the versions of {_LOCK.name}: `make demo` does"
        )
    return ok(f"{len(pinned)} packages at the versions of the lock")


def data_folder(subject: Subject) -> Finding:
    """The data folder can be written."""
    folder = subject.settings.data.absolute()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not there.is_dir() or not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        return fail(f"{there} can't be written", "give its owner the right, or name another --data folder")
    if there != folder:
        return warn(f"{folder} is not there yet", "`nextplay serve` makes it; is it the folder you meant?")
    return ok(str(folder))


def disk(subject: Subject) -> Finding:
    """There is room for what the service writes."""
    folder = subject.settings.data.absolute()
    free = shutil.disk_usage(next(one for one in (folder, *folder.parents) if one.exists())).free
    said = f"{free / _GB:.1f} GB free"
    if free < _NO_ROOM:
        return fail(said, "free some room now: a full disk stops all writing")
    if free < _LITTLE_ROOM:
        return warn(said, "free some room: a full disk stops all writing")
    return ok(said)


def clock(subject: Subject) -> Finding:
    """The machine's clock is plausible."""
    now = datetime.now(UTC)
    if not _NEVER_BEFORE < now < _FAR_AHEAD:
        return fail(f"it says {now:%Y-%m-%d %H:%M} UTC", "set the machine's clock, and let NTP keep it")
    if subject.settings.clock is not None:
        return warn(
            f"the service lives at {subject.settings.clock.isoformat()}, not at the machine's {now:%Y-%m-%d}",
            "unset NEXTPLAY_CLOCK unless this is a simulation",
        )
    return ok(f"{now:%Y-%m-%d %H:%M:%S} UTC")


def zones(_subject: Subject) -> Finding:
    """Time zones are known, and text is UTF-8."""
    for name in _ZONES:
        try:
            ZoneInfo(name)
        except ZoneInfoNotFoundError:
            return fail(f"the time zone {name} is not known", "install tzdata: `pip install tzdata`")
    encoding = sys.getfilesystemencoding()
    if encoding.lower().replace("-", "") != "utf8":
        return warn(f"file names are read as {encoding}", "set LANG=C.UTF-8 or PYTHONUTF8=1")
    return ok("time zones are known, text is UTF-8")


def learner(_subject: Subject) -> Finding:
    """The learner's process can start."""
    command = [sys.executable, "-c", "import learning.vw_worker"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=_CHILD_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return fail(f"its process did not start within {_CHILD_SECONDS} s", "look at the machine's load")
    if run.returncode:
        said = (run.stderr.strip().splitlines() or [f"it ended with {run.returncode}"])[-1]
        return fail(f"its process can't start: {said}", "install vowpal-wabbit-next at the lock's version")
    return ok("its process can start")


def _locked(text: str) -> Iterator[tuple[str, str, bool]]:
    for line in text.splitlines():
        if match := _PINNED.match(line):
            yield _plain(match["name"]), match["version"], match["marker"] is not None


def _plain(requirement: str) -> str:
    """Return the normalised name of a requirement (PEP 503)."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", name[0] if name else requirement).lower()


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
