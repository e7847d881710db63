"""Errors of the audiences room.

NextplayError
└── AudiencesError
    ├── EventRefused              an event can't be taken as it is; the message says which field and why
    │   └── MessageTooLarge       it has more bytes than a message may have
    ├── MessageConflict           its id was used before, for another message
    ├── ContentTooLarge           a body has more bytes than its route takes
    ├── EncodingUnknown           a body is encoded in a way that is not taken
    ├── UnknownUser               nothing was ever recorded of this user
    ├── TextUnfit                 a text can't be kept as it is
    ├── AddressUnfit              this is no e-mail address or phone number
    ├── FormError
    │   ├── FormDefinitionError   forms.yaml is wrong
    │   ├── UnknownForm           there is no form of that name
    │   ├── FormRefused           what was sent is not what the form asks for; every field is named
    │   ├── FormUnreadable        the body is of a kind that forms do not take
    │   ├── FormOriginRefused     the page that sent it is not on the form's list
    │   ├── SubmissionReused      the submission's id was used for something else
    │   └── TooManySubmissions    too many from one address (retry can help)
    ├── CrmError
    │   ├── CrmDefinitionError    crm.yaml is wrong
    │   ├── UnknownCrm            there is no CRM of that name
    │   ├── WebhookRefused        a webhook is not signed, or was too long ago
    │   ├── PayloadUnreadable     a webhook's body is no JSON object
    │   └── MappingFailed         a payload does not have what the mapping asks for
    ├── TraitError                traits.yaml is wrong
    ├── ConsentRefused            a word of consent can't be recorded as it is
    ├── RowRefused                a row to import can't be taken as it is
    ├── UnknownImport             nothing of that kind is imported
    ├── FileUnreadable            a file of rows is not there or of no kind that can be read
    ├── AudienceError             an audience or tag definition is wrong
    ├── UnknownAudience           there is no audience of that name
    ├── AudienceTaken             there is one of that name already
    ├── AudienceOfFile            it is defined in the library's file, and is changed there
    ├── AudienceChanged           it was changed by somebody else meanwhile
    ├── MatchMissing              a change does not say which version it is of
    ├── ListRefused               a list or labelled file can't be taken; every wrong line is named
    ├── RunEnded                  an evaluation was ended before it was done
    ├── RunOverdue                an evaluation was not heard of for too long and was given up
    ├── ClusterUnreachable        Ray is configured and can't be used (retry can help)
    ├── TagNotThere               a tag can't be taken off who does not carry it
    ├── PlanError                 a file of the tracking plan, or of what machines are, is wrong
    ├── NotAside                  no event of this id is set aside, or it was taken in since
    ├── ScoreError                a score's definition is wrong
    ├── UnknownScore              there is no score of that name, or this user has none
    ├── NotHandedOver             sales can't answer what was not handed over
    ├── StageError                a lifecycle's definition is wrong
    ├── UnknownLifecycle          there is no lifecycle of that name, or this user is not in it
    ├── TriggerError              a trigger's definition is wrong
    ├── UnknownTrigger            there is no trigger of that name
    └── FeatureError              features can't be read or published
        ├── FeaturesUnavailable   the online store can't be read now (retry can help)
        │   └── FeaturesDamaged   a value there, of one of these users, can't be decoded
        └── UnknownFeatures       a feature service or view of that name is not declared
"""

from __future__ import annotations

from storage.errors import NextplayError


class AudiencesError(NextplayError):
    status = 422
    code = "audiences"


class EventRefused(AudiencesError):
    status = 400
    code = "event-refused"


class MessageTooLarge(EventRefused):
    status = 413
    code = "content-too-large"


class MessageConflict(AudiencesError):
    status = 409
    code = "message-conflict"


class ContentTooLarge(AudiencesError):
    status = 413
    code = "content-too-large"


class EncodingUnknown(AudiencesError):
    status = 415
    code = "encoding-unknown"


class UnknownUser(AudiencesError):
    status = 404
    code = "unknown-user"


class TextUnfit(AudiencesError):
    code = "text-unfit"


class AddressUnfit(AudiencesError):
    code = "address-unfit"


class FormError(AudiencesError):
    code = "form"


class FormDefinitionError(FormError):
    code = "form-definition"


class UnknownForm(FormError):
    status = 404
    code = "unknown-form"


class FormRefused(FormError):
    code = "form-refused"


class FormUnreadable(FormError):
    status = 415
    code = "form-unreadable"


class FormOriginRefused(FormError):
    status = 403
    code = "form-origin-refused"


class SubmissionReused(FormError):
    status = 409
    code = "submission-reused"


class TooManySubmissions(FormError):
    status = 429
    code = "too-many-submissions"
    retry = True


class CrmError(AudiencesError):
    code = "crm"


class CrmDefinitionError(CrmError):
    code = "crm-definition"


class UnknownCrm(CrmError):
    status = 404
    code = "unknown-crm"


class WebhookRefused(CrmError):
    status = 401
    code = "webhook-refused"


class PayloadUnreadable(CrmError):
    status = 400
    code = "payload-unreadable"


class MappingFailed(CrmError):
    code = "mapping-failed"


class TraitError(AudiencesError):
    code = "traits"


class ConsentRefused(AudiencesError):
    code = "consent-refused"


class RowRefused(AudiencesError):
    code = "row-refused"


class UnknownImport(AudiencesError):
    status = 404
    code = "unknown-import"


class FileUnreadable(AudiencesError):
    code = "file-unreadable"


class AudienceError(AudiencesError):
    code = "audience"


class UnknownAudience(AudiencesError):
    status = 404
    code = "unknown-audience"


class AudienceTaken(AudiencesError):
    status = 409
    code = "audience-taken"


class AudienceOfFile(AudiencesError):
    status = 409
    code = "audience-of-file"


class AudienceChanged(AudiencesError):
    status = 412
    code = "audience-changed"


class MatchMissing(AudiencesError):
    status = 428
    code = "match-missing"


class ListRefused(AudiencesError):
    code = "list-refused"


class RunEnded(AudiencesError):
    status = 409
    code = "run-ended"
    retry = True


class RunOverdue(AudiencesError):
    status = 503
    code = "run-overdue"
    retry = True


class ClusterUnreachable(AudiencesError):
    status = 503
    code = "cluster-unreachable"
    retry = True


class TagNotThere(AudiencesError):
    status = 404
    code = "tag-not-there"


class PlanError(AudiencesError):
    code = "tracking-plan"


class NotAside(AudiencesError):
    status = 404
    code = "not-set-aside"


class ScoreError(AudiencesError):
    code = "score"


class UnknownScore(AudiencesError):
    status = 404
    code = "unknown-score"


class NotHandedOver(AudiencesError):
    status = 409
    code = "not-handed-over"


class StageError(AudiencesError):
    code = "stage"


class UnknownLifecycle(AudiencesError):
    status = 404
    code = "unknown-lifecycle"


class TriggerError(AudiencesError):
    code = "trigger"


class UnknownTrigger(AudiencesError):
    status = 404
    code = "unknown-trigger"


class FeatureError(AudiencesError):
    status = 503
    code = "features"


class FeaturesUnavailable(FeatureError):
    code = "features-unavailable"
    retry = True


class FeaturesDamaged(FeaturesUnavailable):
    code = "features-damaged"


class UnknownFeatures(FeatureError):
    status = 422
    code = "unknown-features"
