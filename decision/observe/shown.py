"""Check of what placements show where no policy can be asked."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.exc import DBAPIError

from decision.files import read_files
from decision.observe.findings import Finding, Subject, fail, ok, warn
from decision.observe.looking import looking, sqlite_file
from playbooks.controls.repository import in_force
from playbooks.fallbacks import Fallback, fallback_in
from playbooks.library.loading import Loader


def fallbacks(subject: Subject) -> Finding:
    """The fallbacks that policy.yaml names can be shown."""
    files = read_files(subject.settings.library_folder)
    named = files.policy.fallbacks
    path = sqlite_file(subject.settings.url)
    if not named:
        return ok("none is named: nothing is done where no policy can be asked")
    if path is not None and not path.exists():
        return ok("there is no database yet")
    now = subject.settings.clock or datetime.now(UTC)
    loader = Loader(subject.settings.seed, schema=files.asked.schema)
    try:
        with looking(subject.settings.url) as connection:
            library, controls = loader.load(connection), in_force(connection)
    except DBAPIError as error:
        return fail(f"it can't be read: {' '.join(str(error.orig).split())}", "see the check `database`")
    wrong = []
    for placement, name in named.items():
        found = fallback_in(library, name, placement)
        why = found.stopped_by("", controls, now) if isinstance(found, Fallback) else found
        if why is not None:
            wrong.append(f"{placement} shows nothing instead of {name!r}: {why}")
    if wrong:
        return warn("; ".join(wrong), "serve or resume the playbook, or name another one in policy.yaml")
    return ok(", ".join(f"{placement} shows {name}" for placement, name in named.items()))
