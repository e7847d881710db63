"""Errors of the library and of matching.

NextplayError
└── PlaybooksError
    ├── LibraryError         a library file is wrong; the message says which file, where and what to write
    ├── UnknownPlacement     a decision was asked for at a placement that no playbook serves
    ├── UnknownDecision      no decision has this id
    ├── DecisionErased       the user of this decision was erased: there is nothing to show or replay
    ├── PolicyBroken         a policy returned something that is not a probability vector
    └── CountersUnreachable  the server that keeps the counters does not answer (retry can help)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from storage.errors import NextplayError

if TYPE_CHECKING:
    from playbooks.library.problems import Problem


class PlaybooksError(NextplayError):
    status = 422
    code = "playbooks"


class LibraryError(PlaybooksError):
    """`problems` are those that the message lists, each with its place."""

    code = "library"

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)

    @property
    def members(self) -> Mapping[str, Any]:
        return {"problems": msgspec.to_builtins(self.problems)} if self.problems else {}


class UnknownPlacement(PlaybooksError):
    status = 404
    code = "unknown-placement"


class UnknownDecision(PlaybooksError):
    status = 404
    code = "unknown-decision"


class DecisionErased(PlaybooksError):
    status = 410
    code = "decision-erased"


class PolicyBroken(PlaybooksError):
    status = 500
    code = "policy-broken"


class CountersUnreachable(PlaybooksError):
    status = 503
    code = "counters-unreachable"
    retry = True
