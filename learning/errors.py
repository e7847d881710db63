"""Errors of learning.

NextplayError
└── LearningError
    ├── PolicySpecError      a policy's specification is wrong; the message says where and what to write
    ├── FeaturesMismatch     a user's features do not have the shape the policy's specification names
    ├── InvalidScores        scores or exploration settings that no probability vector can be made of
    ├── InvalidRows          rows that must not reach a learner (not finite, out of bounds, uneven)
    ├── LearnerLost          the learner's process died or stood still, again and again (retry can help)
    ├── LearnerRefused       the learner's process answered that it can't do what it was asked
    ├── BrokenWeights        weights that are not finite; the version in charge stays
    ├── VersionTaken         somebody else published the next version first (retry can help)
    ├── UnknownVersion       no policy version has this name
    ├── VersionGone          the version's weights are kept no more
    ├── NothingToRescore     a decision was made without a value model, so there is nothing to run again
    ├── NothingToExport      no decision was made at the placement or in the time that was named
    ├── UnknownPlan          a decision names a playbook version or arm that was never published
    ├── UnknownChange        the optimisation log has no change of this id
    ├── UnknownPolicy        the library has no policy of this id
    ├── PromotionRefused     what is known does not prove that a policy may take charge; every reason is named
    ├── ChargeTaken          somebody else changed who is in charge meanwhile (retry can help)
    ├── NotUndone            a change that nothing takes back, or that was overtaken by a later one
    ├── NotRebuilt           the ledger does not tell how a version was learnt, or has nothing left of it
    ├── UnreadableTable      a table of full feedback that can't be simulated on; the message says why
    ├── UnknownPlayer        no policy that can be simulated has this name
    ├── WorkerDied           a process died that work was spread over
    └── EvaluationError
        ├── InvalidRounds    arrays of an evaluation that are empty, uneven or out of range
        ├── UnreadableLog    a log that can't be read as rounds, or of which too much is wrong
        ├── UnknownEstimator no estimator or interval has this name, or it has no such parameter
        ├── NoExperiment     rounds that no fixed split of two or more arms drew
        ├── UnknownCandidate a policy to evaluate that nothing is known of
        └── SeenInTraining   the candidate was trained on the rounds it was to be judged on
"""

from __future__ import annotations

from storage.errors import NextplayError


class LearningError(NextplayError):
    status = 500
    code = "learning"


class PolicySpecError(LearningError):
    status = 422
    code = "policy-spec"


class FeaturesMismatch(LearningError):
    code = "features-mismatch"


class InvalidScores(LearningError):
    code = "invalid-scores"


class InvalidRows(LearningError):
    code = "invalid-rows"


class LearnerLost(LearningError):
    status = 503
    code = "learner-lost"
    retry = True


class LearnerRefused(LearningError):
    code = "learner-refused"


class BrokenWeights(LearningError):
    code = "broken-weights"


class VersionTaken(LearningError):
    status = 409
    code = "version-taken"
    retry = True


class UnknownVersion(LearningError):
    status = 404
    code = "unknown-policy-version"


class VersionGone(LearningError):
    status = 410
    code = "policy-version-gone"


class NothingToRescore(LearningError):
    status = 409
    code = "nothing-to-rescore"


class NothingToExport(LearningError):
    status = 404
    code = "nothing-to-export"


class UnknownPlan(LearningError):
    status = 404
    code = "unknown-plan"


class UnknownChange(LearningError):
    status = 404
    code = "unknown-change"


class UnknownPolicy(LearningError):
    status = 404
    code = "unknown-policy"


class PromotionRefused(LearningError):
    status = 409
    code = "promotion-refused"


class ChargeTaken(LearningError):
    status = 409
    code = "charge-taken"
    retry = True


class NotUndone(LearningError):
    status = 409
    code = "not-undone"


class NotRebuilt(LearningError):
    status = 409
    code = "not-rebuilt"


class UnreadableTable(LearningError):
    status = 422
    code = "unreadable-table"


class UnknownPlayer(LearningError):
    status = 422
    code = "unknown-player"


class WorkerDied(LearningError):
    code = "worker-died"


class EvaluationError(LearningError):
    status = 422
    code = "evaluation"


class InvalidRounds(EvaluationError):
    code = "invalid-rounds"


class SeenInTraining(EvaluationError):
    code = "seen-in-training"


class UnreadableLog(EvaluationError):
    code = "unreadable-log"


class UnknownEstimator(EvaluationError):
    code = "unknown-estimator"


class NoExperiment(EvaluationError):
    code = "no-experiment"


class UnknownCandidate(EvaluationError):
    code = "unknown-candidate"
