"""Errors of the audiences room.

AudiencesError
└── FeatureError
    ├── FeaturesUnavailable   the online store can't be read now (retry can help)
    └── UnknownFeatures       a feature service or view of that name is not declared
"""

from __future__ import annotations

from storage.errors import NextplayError


class AudiencesError(NextplayError):
    status = 500
    code = "audiences"


class FeatureError(AudiencesError):
    code = "features"


class FeaturesUnavailable(FeatureError):
    status = 503
    code = "features-unavailable"
    retry = True


class UnknownFeatures(FeatureError):
    status = 422
    code = "unknown-features"
