"""Lint of a library: what the files of all rooms say together, held against users where they are at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from audiences.crm.definitions import CrmSource, EventNames
from audiences.plan.documents import FOLDER, read_plan
from audiences.rules import Rule
from audiences.selection.memberships import Memberships
from decision.files import LibraryFiles
from playbooks.library import Draft
from playbooks.lint import Events, Finding, Severity, Subject, Users, lint
from storage import ledger
from storage.engine import Database
from storage.ledger import Kind

# Events that come under these names without being tracked by a name.
_UNTRACKED = frozenset(("page_viewed", "screen_viewed", "identify", "group"))


def lint_library(
    files: LibraryFiles,
    folder: Path,
    now: datetime,
    *,
    draft: Draft | None = None,
    database: Database | None = None,
    users: Users | None = None,
) -> list[Finding]:
    """Return what lint finds in a library.

    Args:
        folder: where the files were read from, for its tracking plan.
        draft: the playbooks to look at, if not those of the files.
        database: whose ledger says which events ever came; None: nobody has looked.
        users: as they are now; None: rules are only held against themselves.

    Raises:
        PlanError: the tracking plan is wrong.
    """
    plan = read_plan(folder / FOLDER)
    planned = {*files.specs.events.events, *plan.planned, *_UNTRACKED, *_of_others(files)}
    seen: frozenset[str] | None = None
    if database is not None:
        with database.read() as connection:
            counts = ledger.counts(connection)
        seen = frozenset(name for kind in (Kind.EVENT, Kind.PAST_EVENT) for name in counts.get(kind, ()))
    return lint(
        Subject(
            draft or files.draft,
            files.definitions,
            files.schema,
            now,
            triggers=frozenset(one.spec.id for one in files.triggers.triggers),
            events=Events(frozenset(planned), plan.refuses_unknown, seen),
            users=users,
            fallbacks=files.policy.fallbacks,
        )
    )


class Members:
    """Implements `playbooks.lint.Users` over who is in which audience."""

    def __init__(
        self, memberships: Memberships, selected: Callable[[Rule], int | None] = lambda rule: None
    ) -> None:
        """`selected` says for how many a rule holds, where somebody can say."""
        self._memberships = memberships
        self._selected = selected

    @classmethod
    def of(cls, database: Database) -> Members:
        """Read who is in which audience from a database."""
        memberships = Memberships()
        with database.read() as connection:
            memberships.load(connection)
        return cls(memberships)

    def size(self, audience: str) -> int | None:
        """See `Users`."""
        live = self._memberships.live.get(audience)
        return None if live is None else live.size

    def selected(self, rule: Rule) -> int | None:
        """See `Users`."""
        return self._selected(rule)

    def within(self, one: str, other: str) -> bool | None:
        """See `Users`."""
        if not {one, other} <= self._memberships.live.keys():
            return None
        return self._memberships.members(one).issubset(self._memberships.members(other))


def told(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield findings as text, two lines each, and a sum."""
    listed = list(findings)
    for one in listed:
        yield f"{one.severity.value:<8}{one.place}: {one.message} [{one.code}]"
        yield f"        → {one.advice}"
    numbers = [(sum(one.severity is kind for one in listed), kind.value) for kind in Severity]
    said = ", ".join(f"{number} {kind}{'' if number == 1 else 's'}" for number, kind in numbers if number)
    yield said or "nothing found"


def _of_others(files: LibraryFiles) -> Iterator[str]:
    """Yield the events that forms and CRMs make."""
    yield from (form.event for form in files.forms.values())
    for source in files.crm.values():
        yield from _of_crm(source)


def _of_crm(source: CrmSource) -> Iterator[str]:
    for one in source.objects:
        if isinstance(one.event, EventNames):
            yield from one.event.names.values()
        elif one.event is not None:
            yield one.event
