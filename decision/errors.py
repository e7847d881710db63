"""Errors of the front door.

NextplayError
└── DecisionError
    ├── KeyReused     an idempotency key came back with another request
    ├── WrongContext  a request's context is not what the policy reads
    ├── BadRequest    a request's body can't be understood
    ├── UnknownJob    a job was asked for that does not exist
    ├── ServiceRefused  the service that a command asked did not do it
    ├── CrmDiffers    a CRM's export and what is held of it do not agree
    ├── RowsRefused   some rows of a file were not imported
    ├── ProofsRefused  proofs of a playbook can't be sent as asked for
    ├── JobsLost      the process of the jobs is not there (retry can help)
    ├── PortInUse     the service can't listen where it should
    ├── NoRoom        a disk is full (retry can help)
    ├── FeaturesDiffer  features kept event by event are not those of the history
    └── FeatureStoreUnavailable  the files of the features can't be read or written (retry can help)
"""

from __future__ import annotations

from storage.errors import NextplayError


class DecisionError(NextplayError):
    status = 422
    code = "decision"


class KeyReused(DecisionError):
    code = "idempotency-key-reused"


class WrongContext(DecisionError):
    code = "wrong-context"


class BadRequest(DecisionError):
    status = 400
    code = "bad-request"


class UnknownJob(DecisionError):
    status = 404
    code = "unknown-job"


class ServiceRefused(DecisionError):
    """`busy`: the same request may succeed later."""

    code = "service-refused"

    def __init__(self, text: str, *, busy: bool = False) -> None:
        super().__init__(text)
        self.busy = busy


class CrmDiffers(DecisionError):
    code = "crm-differs"


class ProofsRefused(DecisionError):
    code = "proofs-refused"


class RowsRefused(DecisionError):
    code = "rows-refused"


class PortInUse(DecisionError):
    status = 503
    code = "port-in-use"


class FeaturesDiffer(DecisionError):
    status = 500
    code = "features-differ"


class FeatureStoreUnavailable(DecisionError):
    status = 503
    code = "feature-store-unavailable"
    retry = True


class NoRoom(DecisionError):
    status = 503
    code = "no-room"
    retry = True


class JobsLost(DecisionError):
    status = 503
    code = "jobs-lost"
    retry = True


class NoExplorationBudget(DecisionError):
    status = 404
    code = "no-exploration-budget"
