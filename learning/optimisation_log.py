"""The optimisation log: what changed, from what to what, who or what did it, why, on what evidence. Pure.

Every room records its changes as facts of the ledger, each in its own words; here they are read as one log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from playbooks.library.changes import FOLDER
from playbooks.library.importing import GONE
from playbooks.library.lifecycle import State
from storage.ledger import Fact

# Who does things by itself; everybody else who changes something has a name and is a person.
MACHINES = frozenset({"folder", "pilot", "learning", "promotion", "protection"})
Actor = Literal["person", "machine"]


class Entry(msgspec.Struct, frozen=True):
    """One change. `thing` is what changed and `what` of which kind it is; `cause` says why, in words.

    `undo` says what takes it back, "" where nothing here can.
    """

    id: str
    seq: int
    at: datetime
    what: str
    thing: str
    before: Any
    after: Any
    by: str
    actor: Actor
    cause: str
    evidence: Any
    undo: str


class _Read(msgspec.Struct, frozen=True):
    thing: str
    before: Any
    after: Any
    by: str = ""
    cause: str = ""
    evidence: Any = None
    undo: str = ""


Body = Mapping[str, Any]


def entry_of(fact: Fact) -> Entry:
    """Return a change fact as an entry of the log; one of an unknown label keeps its body as `after`."""
    body: Body = fact.decode(dict[str, Any])
    read = _READERS.get(fact.label, _other)(body)
    by = read.by or str(body.get("by") or "")
    # Facts of users name nobody here: the log is about what serves them all.
    return Entry(
        id=fact.id,
        seq=fact.seq,
        at=fact.occurred_at,
        what=fact.label,
        thing=read.thing,
        before=read.before,
        after=read.after,
        by=by,
        actor="machine" if by in MACHINES or not by else "person",
        cause=read.cause or str(body.get("why") or ""),
        evidence=read.evidence if read.evidence is not None else body.get("evidence"),
        undo=read.undo,
    )


def playbook_undo(state: str, before: str | None) -> str:
    """Return the move that takes a playbook's change of state back, "" where there is none.

    >>> playbook_undo("paused", None), playbook_undo("live", "paused"), playbook_undo("live", "approved")
    ('resume', 'pause', 'publish')
    """
    if state == "live" and before == "paused":
        return "pause"
    moves = {"live": "publish", "paused": "resume", "retired": "publish", "pilot": "retire"}
    return moves.get(state, "retire" if state in ("in_review", "approved") else "")


def _playbook(body: Body) -> _Read:
    return _Read(
        thing=f"{body['playbook']} version {body['version']}",
        before=body.get("before"),
        after=body["state"],
        # Of what is gone from the folder each start would retire it anew.
        undo="" if _gone(body) else playbook_undo(body["state"], body.get("before")),
    )


def _gone(body: Body) -> bool:
    by_folder = body["by"] == FOLDER and body["state"] == State.RETIRED
    return by_folder and str(body.get("why", "")).startswith(GONE)


def _constraints(body: Body) -> _Read:
    version = int(body["version"])
    parts = ("added", "changed", "removed")
    told = "; ".join(f"{part} {', '.join(body[part])}" for part in parts if body.get(part))
    return _Read(
        thing=f"constraints version {version}",
        before=version - 1 or None,
        after=told,
        # The library's file says them, and the next start would read it again.
        undo="" if body["by"] == FOLDER else "restore",
    )


def _policy(body: Body) -> _Read:
    return _Read(
        thing=str(body["policy"]),
        before=body.get("previous"),
        after=body["version"],
        by=str(body.get("by") or "learning"),
        cause=str(body.get("why") or "")
        or (f"learned from {body['trained']} decisions" if body.get("trained") else "a new specification"),
        evidence=body.get("metrics") or None,
        undo="restore" if body.get("previous") and body.get("trained") else "",
    )


def _member(body: Body) -> _Read:
    """Another member of a portfolio came to be in charge, with a version whose weights are taken back."""
    return _Read(
        thing=str(body["policy"]),
        before=body["former"],
        after=body["member"],
        by=str(body.get("by") or "learning"),
        undo="restore",
    )


def _charge(body: Body) -> _Read:
    return _Read(
        thing=str(body["slot"]),
        before=body.get("previous") or body["former"],
        after=body.get("version") or body["policy"],
        undo="restore" if body["how"] == "promoted" else "",
    )


def _control(body: Body) -> _Read:
    stops = body["mode"] != "resume"
    return _Read(
        thing=f"{body['scope']} {body['target']}".strip(),
        before=None,
        after=body["mode"],
        undo="resume" if stops and body["scope"] != "user" else "",
    )


def _audience(body: Body) -> _Read:
    name, version = str(body.get("id") or body.get("audience") or ""), body.get("version")
    earlier = version - 1 if isinstance(version, int) and version > 1 else None
    if body.get("what") == "audience list":
        # Before the first upload nobody was in it, and what is empty can't be uploaded.
        return _Read(f"{name} list", earlier, version, undo="restore" if earlier else "")
    before, after = body.get("before"), body.get("definition")
    return _Read(
        thing=name if version is None else f"{name} version {version}",
        before=earlier if before is None else before,
        after="retired" if body.get("retired") else version if after is None else after,
        undo="restore" if "definition" in body and version is not None else "",
    )


def _setting(body: Body) -> _Read:
    """What a file of the library says of thresholds and prices, or somebody in its place."""
    return _Read(
        thing=f"{body['what']} {body['id']}",
        before=body["before"],
        after=body["definition"],
        cause="changed in the library's files" if body["by"] == FOLDER else "",
        # What a file says each start would read again; in flight only guards and costs are changed.
        undo="" if body["by"] == FOLDER else "restore",
    )


def _other(body: Body) -> _Read:
    rest = {name: value for name, value in body.items() if name not in ("by", "why", "evidence")}
    return _Read(thing=str(body.get("id") or body.get("name") or ""), before=None, after=rest)


_READERS: Mapping[str, Callable[[Body], _Read]] = {
    "playbook": _playbook,
    "constraints": _constraints,
    "policy_published": _policy,
    "policy_in_charge": _charge,
    "member_in_charge": _member,
    "control": _control,
    "audience": _audience,
    "setting": _setting,
}
