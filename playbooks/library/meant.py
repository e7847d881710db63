"""Which version a move, or a question, is about."""

from __future__ import annotations

from collections.abc import Sequence

from playbooks.errors import MoveRefused, UnknownPlaybook
from playbooks.library.lifecycle import State, moves_from, said
from playbooks.library.repository import Standing

# What a move that names no version is about: the newest version in one of these states.
_MEANT = {
    "approve": [State.IN_REVIEW],
    "reject": [State.IN_REVIEW],
    "pilot": [State.APPROVED],
    "publish": [State.APPROVED, State.PILOT, State.IN_REVIEW],
    "pause": [State.LIVE, State.PILOT],
    "resume": [State.PAUSED],
    "retire": [State.LIVE, State.PILOT, State.PAUSED, State.APPROVED, State.IN_REVIEW],
}


def meant(playbook: str, standings: Sequence[Standing], move: str, version: int | None) -> Standing:
    """Return the version of a number, else the newest that a move can be about.

    Raises:
        UnknownPlaybook: there is none.
        MoveRefused: there are versions, and the move is for none of them.
    """
    if version is not None:
        for one in standings:
            if one.version == version:
                return one
        raise unknown(playbook, version)
    for state in _MEANT.get(move, ()):
        if found := [one for one in standings if one.state is state]:
            return found[-1]
    if not standings:
        raise unknown(playbook)
    newest = standings[-1]
    allowed = ", ".join(moves_from(newest.state)) or "none"
    raise MoveRefused(
        f"no version of {playbook} can be moved by `{move}`; the newest, {newest.name}, is "
        f"{said(newest.state)}, and its moves are {allowed}"
    )


def unknown(playbook: str, version: int | None = None) -> UnknownPlaybook:
    """Return the error that says that a playbook, or a version of it, is not there."""
    if version is None:
        return UnknownPlaybook(f"there is no playbook {playbook!r}; GET /v1/playbooks lists them")
    return UnknownPlaybook(
        f"there is no version {version} of a playbook {playbook!r}; "
        f"GET /v1/playbooks/{playbook}/versions lists them"
    )
