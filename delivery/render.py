"""Fills the content of a version's arm for one user, as worded for the channel and the user's language."""

from __future__ import annotations

import msgspec

from delivery.models import Enrolment, Message
from delivery.outbox_repository import Queued
from delivery.plans import Plan
from delivery.recipients import Occasion, Recipients, Strangers
from playbooks.content.filling import Contents, Text
from playbooks.content.names import names_of
from playbooks.errors import ContentFailed
from playbooks.flow import Webhook


class Renderer:
    """Fills contents; each version's templates are parsed once."""

    def __init__(self, recipients: Recipients | None = None) -> None:
        """`recipients` knows users; without it contents see no more than their ids."""
        self._recipients = recipients or Strangers()
        self._contents: dict[tuple[str, int], Contents] = {}

    def render(self, plan: Plan, enrolment: Enrolment, channel: str, content: str) -> Text:
        """Return a content for an enrolment's user, worded for a channel, filled with arm and offer.

        Raises:
            ContentFailed: the version lacks the offer or content, or a template can't be filled for the user.
            NextplayError: nothing can be read of the user; `retry` says whether it may be later.
        """
        arm = enrolment.arm
        contents = self._of(plan)
        if content not in plan.contents or arm.offer not in plan.offers:
            raise ContentFailed(
                f"version {plan.version} of the playbook {plan.playbook!r} has no offer {arm.offer!r} with "
                f"content {content!r}"
            )
        occasion = Occasion(plan.trigger, enrolment.decision_id, enrolment.id)
        recipient = self._recipients.of(enrolment.user_id, contents.roots(content), occasion)
        names = names_of(plan.offers[arm.offer], arm, recipient)
        return contents.text(content, channel, recipient.language, names)

    def _of(self, plan: Plan) -> Contents:
        key = (plan.playbook, plan.version)
        contents = self._contents.get(key)
        if contents is None:
            contents = self._contents[key] = Contents(plan.contents)
        return contents


def webhook_message(plan: Plan, enrolment: Enrolment, queued: Queued) -> Message:
    """Return what another system is told by a state of a flow, the same at every attempt.

    Raises:
        ContentFailed: the flow has no such state any more.
    """
    state = plan.flow.states.get(queued.step)
    if not isinstance(state, Webhook):
        raise ContentFailed(
            f"version {plan.version} of the playbook {plan.playbook!r} tells nobody in {queued.step!r}"
        )
    told = {
        "type": f"{plan.playbook}.{queued.step}",
        "timestamp": queued.queued_at,
        "data": {
            "user_id": enrolment.user_id,
            "playbook": plan.playbook,
            "version": plan.version,
            "state": queued.step,
            "enrolment_id": enrolment.id,
            "decision_id": enrolment.decision_id,
            "variant": enrolment.arm.id,
            "offer": enrolment.arm.offer,
            **state.data,
        },
    }
    body = msgspec.json.encode(told).decode()
    return Message(queued.key, enrolment.user_id, "", body, queued.queued_at, state.url)
