"""Errors of accounts.

AudiencesError
└── UnknownAccount   no message ever named it, or the user does not belong to it
"""

from __future__ import annotations

from audiences.errors import AudiencesError


class UnknownAccount(AudiencesError):
    status = 404
    code = "unknown-account"
