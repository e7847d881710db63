"""The message of an answer that is shown at once: the drawn arm's content, filled for the user."""

from __future__ import annotations

import msgspec
import structlog

from delivery.recipients import Occasion, Recipients
from playbooks.content.filling import Contents
from playbooks.content.names import ARM, OFFER, names_of
from playbooks.decision import Decision
from playbooks.library import Library, PublishedPlaybook
from playbooks.models import Arm
from storage.errors import NextplayError

_log = structlog.get_logger(__name__)

# The placement of what is sent and not shown: its messages are filled when they go out.
OUTBOUND = "outbound"
# Contents that speak of nothing else are filled once for each arm; so many are kept.
_OF_NOBODY = frozenset((OFFER, ARM))
_KEPT = 10_000


class MessageShown(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a backend shows: subject, body, and their language. `problem` is why there is neither."""

    subject: str = ""
    body: str = ""
    language: str | None = None
    problem: str = ""


class InlineMessages:
    """Fills contents of versions that are served; each is parsed once."""

    def __init__(self, recipients: Recipients) -> None:
        self._recipients = recipients
        self._contents: dict[str, Contents] = {}
        # What says the same to everybody, by version and arm.
        self._same: dict[tuple[str, str], MessageShown] = {}

    def of(self, playbook: PublishedPlaybook, arm: Arm, user_id: str) -> MessageShown:
        """Return the message of an arm; one that can't be filled for this user says why, the offer stays."""
        place = (playbook.key, arm.id)
        if (known := self._same.get(place)) is not None:
            return known
        contents = self._contents.get(playbook.key)
        if contents is None:
            contents = self._contents[playbook.key] = Contents(playbook.contents)
        try:
            occasion = Occasion(playbook.document.trigger, decision_id="")
            roots = contents.roots(arm.content)
            recipient = self._recipients.of(user_id, roots, occasion)
            names = names_of(playbook.offers[arm.offer], arm, recipient)
            text = contents.text(arm.content, arm.channel, recipient.language, names)
        except NextplayError as error:
            _log.warning("a content was not filled", playbook=playbook.key, content=arm.content)
            return MessageShown(problem=str(error))
        message = MessageShown(text.subject, text.body, text.language)
        if roots <= _OF_NOBODY:
            if len(self._same) >= _KEPT:
                self._same.clear()
            self._same[place] = message
        return message


def message_of(messages: InlineMessages | None, library: Library, decision: Decision) -> MessageShown | None:
    """Return the message of what a decision gives where it is shown at once, None where it is not."""
    if messages is None or decision.placement == OUTBOUND or not decision.acts:
        return None
    playbook = library.get(decision.playbook or "", decision.playbook_version or 0)
    return messages.of(playbook, playbook.arm(decision.arm), decision.user_id)
