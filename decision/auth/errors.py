"""Errors of keys.

DecisionError
└── KeyProblem
    ├── Unauthenticated         no key that counts was presented; `challenge` says how to (RFC 6750)
    │   ├── KeyMissing          none was presented at all
    │   ├── KeyUnknown          it is no key of this service
    │   ├── KeyExpired          its time is over
    │   └── KeyRevoked          it was taken back
    ├── ScopeMissing            the key may not do this
    ├── RouteUndeclared         nobody said who may use the route, so nobody may
    ├── NoSuchKey               a key to rotate or revoke does not exist
    ├── KeyUnfit                a key can't be made or changed as asked
    └── KeyServiceRefused       the service that a command talks to did not do it
"""

from __future__ import annotations

from typing import ClassVar

from decision.errors import DecisionError


class KeyProblem(DecisionError):
    status = 422
    code = "key"


class Unauthenticated(KeyProblem):
    status = 401
    code = "unauthenticated"
    # The `error` of the challenge; none where the request held no key at all.
    error: ClassVar[str | None] = "invalid_token"


class KeyMissing(Unauthenticated):
    code = "key-missing"
    error = None


class KeyUnknown(Unauthenticated):
    code = "key-unknown"


class KeyExpired(Unauthenticated):
    code = "key-expired"


class KeyRevoked(Unauthenticated):
    code = "key-revoked"


class ScopeMissing(KeyProblem):
    status = 403
    code = "scope-missing"


class RouteUndeclared(KeyProblem):
    status = 403
    code = "route-undeclared"


class NoSuchKey(KeyProblem):
    status = 404
    code = "no-such-key"


class KeyUnfit(KeyProblem):
    status = 409
    code = "key-unfit"


class KeyServiceRefused(KeyProblem):
    status = 502
    code = "key-service-refused"
