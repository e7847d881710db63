"""Errors of the audiences room.

    NextplayError
    └── AudiencesError
        ├── EventRefused    an event can't be taken as it is; the message says which field and why
        ├── AudienceError   an audience or tag definition is wrong
        └── FeatureError    features can't be read or published
"""

from __future__ import annotations

from storage.errors import NextplayError


class AudiencesError(NextplayError):
    status = 422
    code = "audiences"


class EventRefused(AudiencesError):
    status = 400
    code = "event-refused"


class AudienceError(AudiencesError):
    code = "audience"


class FeatureError(AudiencesError):
    status = 503
    code = "features"
