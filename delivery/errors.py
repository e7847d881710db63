"""Errors of delivery.

NextplayError
└── DeliveryError
    ├── FlowBroken       a flow can't be interpreted: an unknown state, an endless loop, a date out of reach
    ├── UnknownVersion   an enrolment pins a playbook version that is not in the library
    ├── OfferOver        an offer ended before a coupon of it was issued
    ├── NotForgotten     a channel can't take away its copy of a message (retry can help)
    └── NotHandedOver    a channel did not take a message; says whether to try again
"""

from __future__ import annotations

from datetime import timedelta

from storage.errors import NextplayError


class DeliveryError(NextplayError):
    status = 500
    code = "delivery"


class FlowBroken(DeliveryError):
    code = "flow-broken"


class UnknownVersion(DeliveryError):
    status = 404
    code = "unknown-version"


class OfferOver(DeliveryError):
    status = 409
    code = "offer-over"


class NotForgotten(DeliveryError):
    status = 503
    code = "not-forgotten"
    retry = True


class NotHandedOver(DeliveryError):
    """A channel did not take a message.

    `permanent`: trying again can't help (a wrong address, a refused content). `after`: how long the
    provider asked to wait at least before the next attempt.
    """

    status = 502
    code = "not-handed-over"
    retry = True

    def __init__(self, message: str, *, permanent: bool = False, after: timedelta | None = None) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.after = after
