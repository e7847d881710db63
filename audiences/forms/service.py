"""Taking submissions in: identity, event, consent and tag in one transaction, each submission once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection

from audiences.consent.models import Consent, ConsentState, wording
from audiences.consent.service import record as record_consents
from audiences.errors import FormRefused, SubmissionReused, UnknownForm
from audiences.events import LABELS, Event
from audiences.forms.definitions import FormSpec
from audiences.forms.guards import Tokens
from audiences.forms.submission import Submission, filled, read_submission
from audiences.intake.intake import Intake, Outcome
from audiences.intake.ports import Judged
from audiences.service import set_tag
from audiences.texts import fit
from audiences.traits.models import FORM
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind
from storage.writer import Lane

# Fields of the form itself: which submission it is, who the site thinks it is, when it was opened.
SUBMISSION, ANONYMOUS_ID, TOKEN = "_submission", "_anonymous_id", "_token"
_MAX_ID = 64
# About what a submission writes: two events, users, identities, traits, consents, a tag.
_ROWS = 60


class FormAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a visitor gets. The same for machines, so that they do not learn that they were found out."""

    submission_id: str
    redirect: str | None = None
    download: str | None = None


class Forms:
    """The forms of one service. Thread-safe."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        intake: Intake,
        forms: Mapping[str, FormSpec],
        key: bytes,
        region: str | None = None,
    ) -> None:
        """Serve forms.

        Args:
            key: under which tokens are made, the same in all processes.
            region: where phone numbers without a country code are from.
        """
        self._database = database
        self._clock = clock
        self._intake = intake
        self._forms = forms
        self._tokens = Tokens(key)
        self._region = region

    def get(self, form_id: str) -> FormSpec:
        """Return a form.

        Raises:
            UnknownForm: there is none of that id.
        """
        form = self._forms.get(form_id)
        if form is None:
            raise UnknownForm("there is no form of that name; forms.yaml lists what there is")
        return form

    def describe(self, form: FormSpec) -> dict[str, Any]:
        """Return what a site needs to show a form, with the token and the id of a submission to come."""
        now = self._clock.now()
        return {
            "id": form.id,
            "name": form.name,
            "fields": [
                one.model_dump(include={"name", "type", "label", "required", "max_length", "choices"})
                for one in form.fields
            ],
            "consents": [
                one.model_dump(mode="json", include={"field", "wording", "required"}) for one in form.consents
            ],
            "honeypot": form.honeypot,
            "hidden": {SUBMISSION: new_id(now), TOKEN: self._tokens.issue(form.id, now)},
        }

    def submit(
        self, form: FormSpec, sent: Mapping[str, Sequence[Any]], context: Mapping[str, Any]
    ) -> Future[FormAnswer]:
        """Take a submission in; the future is done once all of it is durable, or none of it was taken.

        Args:
            sent: all values of each field.
            context: what is known of the request, in the words of the tracking spec.

        Raises:
            FormRefused: it is not what the form asks for; all that is wrong is named.
            WriterBusy: too much waits to be written.
        """
        now = self._clock.now()
        submission_id = _own(sent, SUBMISSION) or new_id(now)
        answer = FormAnswer(
            submission_id,
            None if form.redirect is None else str(form.redirect),
            None if form.download is None else str(form.download),
        )
        reason = self._machine(form, sent, now)
        anonymous_id = _own(sent, ANONYMOUS_ID)
        base = Event(
            event_id=f"{FORM}:{form.id}:{submission_id}",
            user_id="",
            name=form.event,
            properties={"form": form.id},
            occurred_at=now,
            received_at=now,
            anonymous_id=anonymous_id,
            context=context,
            source=f"{FORM}.{form.id}",
        )
        if reason:
            apart = msgspec.structs.replace(base, anonymous_id=anonymous_id or submission_id)
            judged = [Judged(apart, Kind.MACHINE_EVENT, reason)]
            return self._submit(form, Submission({}, {}, (), ()), judged, answer, now)
        submission = read_submission(form, sent, self._region)
        if not submission.claims and anonymous_id is None:
            raise FormRefused(f"nobody is named: fill in an address, or send the site's `{ANONYMOUS_ID}`")
        events = _events(base, submission)
        judged = self._intake.judge(events)
        if any(one.kind is not Kind.EVENT for one in judged):
            # All of it or nothing: what is set aside is the submission's event, and nothing is done by it.
            why = next(one for one in judged if one.kind is not Kind.EVENT)
            judged = [Judged(events[-1], why.kind, why.reason)]
        return self._submit(form, submission, judged, answer, now)

    def _submit(
        self,
        form: FormSpec,
        submission: Submission,
        judged: Sequence[Judged],
        answer: FormAnswer,
        now: datetime,
    ) -> Future[FormAnswer]:
        def work(connection: Connection) -> FormAnswer:
            all_ = self._intake.record(connection, judged)
            if any(one.outcome is Outcome.CONFLICT for one in all_):
                raise SubmissionReused(
                    f"`{SUBMISSION}` was used before, for something else; that was kept: give every "
                    "submission an id of its own"
                )
            taken = all_[-1]
            if taken.outcome is Outcome.RECORDED:
                fact = ledger.known(connection, [Kind.EVENT], [taken.event_id])[taken.event_id]
                _follow(connection, form, submission, fact.user_id or "", now)
            return answer

        future = self._database.writer.submit(work, rows=_ROWS, lane=Lane.REQUEST)
        future.add_done_callback(lambda _: self._intake.committed())
        return future

    def _machine(self, form: FormSpec, sent: Mapping[str, Sequence[Any]], now: datetime) -> str:
        """Return why a machine must have filled in a form, '' if a person may have."""
        if form.honeypot is not None and filled(sent.get(form.honeypot, ())):
            return f"the field {form.honeypot!r}, which people do not see, was filled in"
        if not form.minimal_seconds:
            return ""
        opened = self._tokens.opened(form.id, (sent.get(TOKEN) or [None])[-1])
        if opened is None:
            raise FormRefused(
                f"`{TOKEN}` is missing or none of this form: take one from GET /v1/forms/{form.id}"
            )
        if now - opened < timedelta(seconds=form.minimal_seconds):
            return f"it was filled in within {(now - opened).total_seconds():.1f} seconds"
        return ""


def _events(base: Event, submission: Submission) -> list[Event]:
    events = []
    if submission.claims or submission.traits:
        events.append(
            msgspec.structs.replace(
                base,
                event_id=f"{base.event_id}:identify",
                name=LABELS["identify"],
                type="identify",
                properties=submission.traits,
                claims=submission.claims,
            )
        )
    properties = {**submission.properties, **base.properties}
    events.append(msgspec.structs.replace(base, properties=properties, claims=submission.claims))
    return events


def _follow(
    connection: Connection, form: FormSpec, submission: Submission, user_id: str, now: datetime
) -> None:
    """Record what else a submission says of whoever sent it."""
    source = f"{FORM}.{form.id}"
    said = [
        Consent(
            user_id,
            grant.purpose,
            grant.channel,
            ConsentState.GRANTED,
            now,
            source,
            wording(box.wording.id, box.wording.version, box.wording.text),
        )
        for box in submission.ticked
        for grant in box.grants
    ]
    if said:
        record_consents(connection, said, now)
    if form.tag is not None:
        until = None if form.tag.expires_after is None else now + form.tag.expires_after
        set_tag(connection, user_id, form.tag.name, source, now, until)


def _own(sent: Mapping[str, Sequence[Any]], name: str) -> str | None:
    """Return a field of the form itself, None where it was left empty."""
    values = [value for value in sent.get(name, ()) if value not in ("", None)]
    return fit(values[-1], f"`{name}`", _MAX_ID) if values else None
