"""Errors of identity.

AudiencesError
└── IdentityError
    ├── SameUser         the two ids are one profile already, or one id twice
    ├── AlreadyOne       the two are one person already, by another join
    ├── MergeCycle       the other of the two was merged into this one before
    ├── BelongsToAnother the anonymous profile belongs to another user
    ├── UserErased       the user is being erased
    ├── UnknownIdentity  no profile holds it
    ├── UnknownKind      no identity is of this kind
    ├── UnknownMerge     there is no join with this id
    └── AlreadyUndone    the join was taken back before
"""

from __future__ import annotations

from audiences.errors import AudiencesError


class IdentityError(AudiencesError):
    code = "identity"


class SameUser(IdentityError):
    code = "same-user"


class AlreadyOne(IdentityError):
    status = 409
    code = "already-one"


class MergeCycle(IdentityError):
    status = 409
    code = "merge-cycle"


class BelongsToAnother(IdentityError):
    status = 409
    code = "belongs-to-another"


class UserErased(IdentityError):
    status = 409
    code = "user-erased"


class UnknownIdentity(IdentityError):
    status = 404
    code = "unknown-identity"


class UnknownKind(IdentityError):
    status = 422
    code = "unknown-kind"


class UnknownMerge(IdentityError):
    status = 404
    code = "unknown-merge"


class AlreadyUndone(IdentityError):
    status = 409
    code = "already-undone"
