"""What is shown of the library, over HTTP and on the command line: plain data that JSON can say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from playbooks.constraints.documents import Constraint, rule_of
from playbooks.flow.drawing import as_data, as_mermaid
from playbooks.library.documents import VersionBody
from playbooks.library.drafts import OpenDraft
from playbooks.library.house_rules import written
from playbooks.library.lifecycle import State, moves_from
from playbooks.library.repository import Standing
from playbooks.library.service import Entry, LibraryService
from playbooks.library.serving import Library
from playbooks.models import Playbook


def listing(
    library: LibraryService,
    served: Library,
    *,
    state: State | None = None,
    label: str | None = None,
    owner: str | None = None,
) -> list[dict[str, Any]]:
    """Every playbook: its version that is served, else the newest, and where all stand.

    Args:
        state, label, owner: only those that have it.
    """
    now = {one.id: one for one in served.playbooks if one.trial is None or one.trial.alone}
    listed = []
    entries = [one for one in library.entries() if state is None or state in states(one)]
    documents = library.documents([one for one in entries if one.id not in now])
    for entry in entries:
        shown = now.get(entry.id)
        document = shown.document if shown else documents[entry.id]
        if (label is not None and label not in document.labels) or owner not in (None, document.owner):
            continue
        version = shown.version if shown else (entry.versions[-1].version if entry.versions else None)
        listed.append(summary(entry, document, version, len(shown.arms) if shown else None))
    return listed


def detail(library: LibraryService, playbook: str) -> dict[str, Any]:
    """A playbook: the version that is served, else the newest, with its arms; and its draft, if any."""
    versions = library.versions(playbook)
    shown: dict[str, Any] = {"id": playbook, "versions": [standing(one) for one in versions]}
    if versions:
        one, content = library.version(playbook)
        shown |= {"shown": one.version, **body(content)}
    return shown | {"draft": draft_row(library.entry(playbook))}


def flow(library: LibraryService, playbook: str, version: int | None = None) -> dict[str, Any]:
    """The flow of a version as states and edges, and as a Mermaid flowchart."""
    one, content = library.version(playbook, version)
    drawn = content.playbook.flow
    return {"playbook": playbook, "version": one.version, **as_data(drawn), "mermaid": as_mermaid(drawn)}


def states(entry: Entry) -> set[State]:
    """Where versions of a playbook stand, its draft among them."""
    states = {one.state for one in entry.versions}
    return states | {State.DRAFT} if entry.draft is not None else states


def summary(entry: Entry, document: Playbook, version: int | None, arms: int | None) -> dict[str, Any]:
    """A line of a list."""
    return {
        "id": entry.id,
        "version": version,
        "name": document.name,
        "placement": document.placement,
        "audience": document.audience,
        "priority": document.priority,
        "arms": arms,
        "owner": document.owner,
        "labels": document.labels,
        "origin": document.origin,
        "state": foremost(entry),
        "versions": [{"version": one.version, "state": one.state} for one in entry.versions],
        "draft": draft_row(entry),
    }


def foremost(entry: Entry) -> State:
    """The state that says most of a playbook."""
    found = states(entry)
    order = [State.LIVE, State.PILOT, State.PAUSED, State.APPROVED, State.IN_REVIEW, State.DRAFT]
    return next((state for state in order if state in found), State.RETIRED)


def draft_row(entry: Entry) -> dict[str, Any] | None:
    """Who saved the draft, and when; None without one."""
    row = entry.draft
    if row is None:
        return None
    return {"revision": row.revision, "edited_at": row.edited_at, "edited_by": row.edited_by}


def standing(one: Standing) -> dict[str, Any]:
    """Where a version stands, and what can be done with it."""
    return {
        "playbook": one.playbook,
        "version": one.version,
        "state": one.state,
        "moves": moves_from(one.state),
        "needs": list(one.needs),
        "made_by": one.made_by,
        "approved_by": one.approved_by,
        "moved_at": one.moved_at,
        "moved_by": one.moved_by,
        "why": one.why,
        "source": one.source,
        "served_from": one.served_from,
        "report": None if one.report is None else msgspec.json.decode(one.report),
    }


def body(content: VersionBody) -> dict[str, Any]:
    """What a version consists of."""
    return {
        "document": content.playbook.written(),
        "offers": [one.written() for one in content.offers],
        "contents": [one.written() for one in content.contents],
        "arms": [msgspec.to_builtins(arm) for arm in content.arms],
    }


def constraints(version: int, constraints: Sequence[Constraint]) -> dict[str, Any]:
    """The constraints of a version, as one would write them, and the rules they are."""
    return {
        "version": version,
        "constraints": written(constraints),
        "rules": [rule_of(one) for one in constraints],
    }


def open_draft(draft: OpenDraft) -> dict[str, Any]:
    """A draft as it was last saved."""
    return {
        "document": draft.playbook.written(),
        "revision": draft.revision,
        "based_on": draft.based_on,
        "edited_at": draft.edited_at,
        "edited_by": draft.edited_by,
        "problems": msgspec.to_builtins(draft.problems),
    }
