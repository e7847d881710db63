"""Errors of delivery.

NextplayError
└── DeliveryError
    ├── FlowBroken       a flow can't be interpreted: an unknown state, an endless loop, a date out of reach
    ├── UnknownVersion   an enrolment pins a playbook version that is not in the library
    ├── UnknownEnrolment there is no enrolment with an id
    ├── RunsLost         runs would have no place in another version
    ├── TaskUnknown      there is no task with an id
    ├── TaskClosed       a task was done, or its run went on without it
    ├── NoResult         a task can't come to that
    ├── UnknownChannel   there is no channel of a name
    ├── TaskTaken        somebody else took a task on before
    ├── TaskChanged      a task is not the version any more that was seen
    ├── NotYours         somebody has nothing to do with a task, or is not of the staff any more
    ├── PersonUnknown    there is no such person or team, or the person left
    ├── SnoozeRefused    a task can't be put off until then
    ├── NoticeUnknown    a user has no message of a key in the inbox
    ├── AnswerUnreadable a callback with a task's result is not of its form
    ├── LeftBefore       somebody left before, and everything went to another one
    ├── ReportRefused    a report makes no sense: its times
    ├── InboxRefused     a form of the inbox was not made for whoever sent it, or says nothing
    ├── TooMuchTaken     more is asked for as a file than somebody may take away on a day
    ├── LinkBroken       a link is none of ours
    ├── LinkExpired      a link was good for a time that is over
    ├── TooManyChanges   somebody changes what they want too often (retry can help)
    ├── PreferencesUnfit what was sent from a preference page makes no sense
    ├── BadCursor        what is to follow is no place in a list
    ├── RecallRefused    a recall makes no sense: its times, or its correction
    ├── OfferOver        an offer ended before a coupon of it was issued
    ├── NoAddress        a user has no address that a channel could write to
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


class UnknownEnrolment(DeliveryError):
    status = 404
    code = "unknown-enrolment"


class RunsLost(DeliveryError):
    status = 422
    code = "runs-lost"


class TaskUnknown(DeliveryError):
    status = 404
    code = "unknown-task"


class TaskClosed(DeliveryError):
    status = 409
    code = "task-closed"


class NoResult(DeliveryError):
    status = 422
    code = "no-result"


class UnknownChannel(DeliveryError):
    status = 404
    code = "unknown-channel"


class TaskTaken(DeliveryError):
    status = 409
    code = "task-taken"


class TaskChanged(DeliveryError):
    status = 412
    code = "task-changed"


class NotYours(DeliveryError):
    status = 403
    code = "not-yours"


class PersonUnknown(DeliveryError):
    status = 404
    code = "unknown-person"


class SnoozeRefused(DeliveryError):
    status = 422
    code = "snooze-refused"


class NoticeUnknown(DeliveryError):
    status = 404
    code = "unknown-message"


class AnswerUnreadable(DeliveryError):
    status = 422
    code = "answer-unreadable"


class LeftBefore(DeliveryError):
    status = 409
    code = "left-before"


class ReportRefused(DeliveryError):
    status = 422
    code = "report-refused"


class InboxRefused(DeliveryError):
    status = 403
    code = "inbox-refused"


class TooMuchTaken(DeliveryError):
    status = 429
    code = "too-much-taken"


class LinkBroken(DeliveryError):
    status = 404
    code = "link-broken"


class LinkExpired(DeliveryError):
    status = 410
    code = "link-expired"


class TooManyChanges(DeliveryError):
    status = 429
    code = "too-many-changes"
    retry = True


class PreferencesUnfit(DeliveryError):
    status = 422
    code = "preferences-unfit"


class BadCursor(DeliveryError):
    status = 422
    code = "bad-cursor"


class RecallRefused(DeliveryError):
    status = 422
    code = "recall-refused"


class OfferOver(DeliveryError):
    status = 409
    code = "offer-over"


class NoAddress(DeliveryError):
    status = 422
    code = "no-address"


class NotForgotten(DeliveryError):
    status = 503
    code = "not-forgotten"
    retry = True


class NotHandedOver(DeliveryError):
    """A channel did not take a message.

    `permanent`: trying again can't help (a wrong address, a refused content). `after`: how long the
    provider asked to wait at least before the next attempt. `perhaps`: it may have taken the message all the
    same; a channel whose provider does not know keys must not repeat it then. `busy`: it takes no more
    messages for now, whichever they are, for as long as `after` says.
    """

    status = 502
    code = "not-handed-over"
    retry = True

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        after: timedelta | None = None,
        perhaps: bool = False,
        busy: bool = False,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.after = after
        self.perhaps = perhaps
        self.busy = busy
