"""Fills the content of a version's arm for one user, as worded for the channel and the user's language."""

from __future__ import annotations

from delivery.plans import Plan
from delivery.recipients import Occasion, Recipients, Strangers
from playbooks.content.filling import Contents, Text
from playbooks.content.names import names_of
from playbooks.errors import ContentFailed
from playbooks.models import Arm


class Renderer:
    """Fills contents; each version's templates are parsed once."""

    def __init__(self, recipients: Recipients | None = None) -> None:
        """`recipients` knows users; without it contents see no more than their ids."""
        self._recipients = recipients or Strangers()
        self._contents: dict[tuple[str, int], Contents] = {}

    def render(self, plan: Plan, arm: Arm, user_id: str, decision_id: str) -> Text:
        """Return an arm's content for a user.

        Raises:
            ContentFailed: the version lacks the offer or content, or a template can't be filled for the user.
            NextplayError: nothing can be read of the user; `retry` says whether it may be later.
        """
        contents = self._of(plan)
        if arm.content not in plan.contents or arm.offer not in plan.offers:
            raise ContentFailed(
                f"version {plan.version} of the playbook {plan.playbook!r} has no offer {arm.offer!r} with "
                f"content {arm.content!r}"
            )
        occasion = Occasion(plan.trigger, decision_id)
        recipient = self._recipients.of(user_id, contents.roots(arm.content), occasion)
        names = names_of(plan.offers[arm.offer], arm, recipient)
        return contents.text(arm.content, arm.channel, recipient.language, names)

    def _of(self, plan: Plan) -> Contents:
        key = (plan.playbook, plan.version)
        contents = self._contents.get(key)
        if contents is None:
            contents = self._contents[key] = Contents(plan.contents)
        return contents
