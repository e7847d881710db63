"""The life of a playbook version: its states, and the one table of moves between them.

A draft is edited, and has revisions. Handed in, it becomes a version, which never changes; what moves is
its state. Of the versions of a playbook one is live, a newer one may run as a pilot beside it, and the others
wait or are retired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from playbooks.errors import MoveRefused


class State(StrEnum):
    """Where a version stands."""

    DRAFT = "draft"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    PILOT = "pilot"
    LIVE = "live"
    PAUSED = "paused"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Move:
    """What leads from which states to which; `to` is None where it leads back to the state before."""

    name: str
    origins: frozenset[State]
    to: State | None
    why: str


# What decisions are made from.
SERVED = frozenset({State.PILOT, State.LIVE})

_ALL_MOVES = (
    Move("submit", frozenset({State.DRAFT}), State.IN_REVIEW, "hand a draft in: it becomes a version"),
    Move("approve", frozenset({State.IN_REVIEW}), State.APPROVED, "a second person agrees"),
    Move("reject", frozenset({State.IN_REVIEW}), State.DRAFT, "a second person does not; it is edited again"),
    Move("pilot", frozenset({State.APPROVED}), State.PILOT, "try it on the few of its pilot"),
    Move(
        "publish",
        frozenset({State.APPROVED, State.PILOT, State.RETIRED}),
        State.LIVE,
        "serve it to everybody, in the place of the version before; a retired one that was live comes back",
    ),
    Move("pause", SERVED, State.PAUSED, "serve it to nobody until it is resumed"),
    Move("resume", frozenset({State.PAUSED}), None, "serve it as before the pause"),
    Move(
        "retire",
        frozenset({State.IN_REVIEW, State.APPROVED, State.PILOT, State.LIVE, State.PAUSED}),
        State.RETIRED,
        "serve it no more",
    ),
)
MOVES: Mapping[str, Move] = {move.name: move for move in _ALL_MOVES}


def moves_from(state: State) -> list[str]:
    """Return the names of the moves that a state allows."""
    return [move.name for move in _ALL_MOVES if state in move.origins]


def target(move: str, state: State, *, name: str, before: State | None = None) -> State:
    """Return the state that a move leads to.

    Args:
        name: of the version, for the message.
        before: the state before a pause.

    Raises:
        MoveRefused: the state does not allow the move.
    """
    found = MOVES.get(move)
    if found is None:
        raise MoveRefused(f"there is no move {move!r}; the moves are {', '.join(MOVES)}")
    if state not in found.origins:
        allowed = ", ".join(moves_from(state)) or "none"
        raise MoveRefused(
            f"{name} is {said(state)}: it can't be moved by `{move}`, which takes "
            f"{' or '.join(said(one) for one in State if one in found.origins)}; its moves are {allowed}"
        )
    return found.to or before or State.LIVE


def said(state: State) -> str:
    """Return a state as people say it."""
    return state.value.replace("_", " ")
