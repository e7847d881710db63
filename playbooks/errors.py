"""Errors of the library and of matching.

NextplayError
└── PlaybooksError
    ├── LibraryError         a library file is wrong; the message says which file, where and what to write
    ├── UnknownPlaybook      there is no playbook, version or draft of that name
    ├── UnknownContent       there is no content, or version of one, of that name
    ├── UnknownConstraints   there is no such version of the constraints
    ├── UnknownTemplate      no template of that name is shipped
    ├── DraftChanged         somebody else saved the draft meanwhile; the message says what differs
    ├── RevisionMissing      a save does not say which revision of the draft it is of
    ├── MoveRefused          a version's state does not allow the move
    ├── SecondPersonNeeded   whoever made a version can't approve it
    ├── ContentFailed        a content can't be filled for a user; the message says where
    ├── UnknownPlacement     a decision was asked for at a placement that no playbook serves
    ├── UnknownDecision      no decision has this id
    ├── DecisionErased       the user of this decision was erased: there is nothing to show or replay
    ├── DecisionPurged       the decision is older than decisions are kept
    ├── DecisionDamaged      the record of this decision is in the database and can't be read
    ├── UnknownTarget        what is to be stopped does not exist
    ├── NothingStopped       what is to be resumed is not stopped
    ├── PolicyBroken         a policy returned something that is not a probability vector
    └── CountersUnreachable  the server that keeps the counters does not answer (retry can help)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from storage.errors import NextplayError

if TYPE_CHECKING:
    from playbooks.library.diff import Change
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


class UnknownPlaybook(PlaybooksError):
    status = 404
    code = "unknown-playbook"


class UnknownContent(PlaybooksError):
    status = 404
    code = "unknown-content"


class UnknownConstraints(PlaybooksError):
    status = 404
    code = "unknown-constraints"


class UnknownTemplate(PlaybooksError):
    status = 404
    code = "unknown-template"


class DraftChanged(PlaybooksError):
    """`etag` is the draft's now, `changes` what differs between it and what was to be saved."""

    status = 412
    code = "draft-changed"

    def __init__(self, message: str, etag: str = "", changes: Sequence[Change] = ()) -> None:
        super().__init__(message)
        self.etag, self.changes = etag, tuple(changes)

    @property
    def members(self) -> Mapping[str, Any]:
        return {"etag": self.etag, "changes": msgspec.to_builtins(self.changes)}


class RevisionMissing(PlaybooksError):
    status = 428
    code = "revision-missing"


class MoveRefused(PlaybooksError):
    status = 409
    code = "move-refused"


class SecondPersonNeeded(PlaybooksError):
    status = 403
    code = "second-person-needed"


class ContentFailed(PlaybooksError):
    """`limit`: it goes beyond what a template may take."""

    code = "content-failed"

    def __init__(self, message: str, *, limit: bool = False) -> None:
        super().__init__(message)
        self.limit = limit


class UnknownPlacement(PlaybooksError):
    status = 404
    code = "unknown-placement"


class UnknownDecision(PlaybooksError):
    status = 404
    code = "unknown-decision"


class DecisionErased(PlaybooksError):
    status = 410
    code = "decision-erased"


class DecisionPurged(PlaybooksError):
    status = 410
    code = "decision-purged"


class DecisionDamaged(PlaybooksError):
    status = 500
    code = "decision-damaged"


class UnknownTarget(PlaybooksError):
    status = 404
    code = "unknown-target"


class NothingStopped(PlaybooksError):
    status = 404
    code = "nothing-stopped"


class PolicyBroken(PlaybooksError):
    status = 500
    code = "policy-broken"


class CountersUnreachable(PlaybooksError):
    status = 503
    code = "counters-unreachable"
    retry = True
